// The published declarations: of all that the compiler emitted, only what an entry's types lead to, in one file that the
// entries re-export from. The first sentence
// of a comment stays in what comes from a source that an entry exports from.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';

const require = createRequire(import.meta.url);
const ts = require('typescript');
const ROLLED = 'types';

const isProtected = ({ modifiers }) => modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ProtectedKeyword) ?? false;

/**
 * Class members that only the package's own code may use: their types would drag in the engine's insides. Of a
 * constructor that is protected or documented as not for callers stays that there is one.
 */
const isInternal = (member) =>
  (ts.isPropertyDeclaration(member) && member.name.getText() === 'platform') ||
  (ts.isConstructorDeclaration(member) && isProtected(member)) ||
  member.jsDoc?.some(({ comment }) => String(comment).startsWith('Not for callers'));

/** Replaces `[start, end, text]` spans of a text. */
function splice(text, spans) {
  const sorted = [...spans].sort((a, b) => b[0] - a[0]);
  return sorted.reduce((left, [start, end, by]) => left.slice(0, start) + by + left.slice(end), text);
}

function hideInternals(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true);
  const spans = source.statements.filter(ts.isClassDeclaration).flatMap(({ members }) =>
    members.filter(isInternal).map((member) => {
      const by = !ts.isConstructorDeclaration(member)
        ? ''
        : `\n    ${isProtected(member) ? 'protected' : 'private'} constructor();`;
      return [member.getFullStart(), member.getEnd(), by];
    }),
  );
  if (spans.length === 0) return;
  const text = splice(source.text, spans);
  writeFileSync(file, withoutUnusedImports(ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)));
}

function withoutUnusedImports(source) {
  const names = identifiersIn(source).map(({ text }) => text);
  const isUnused = ({ name }) => names.indexOf(name.text) === names.lastIndexOf(name.text);
  const unused = source.statements.filter((at) => {
    const bindings = ts.isImportDeclaration(at) && at.importClause?.namedBindings;
    return bindings && ts.isNamedImports(bindings) && bindings.elements.every(isUnused);
  });
  return splice(
    source.text,
    unused.map((at) => [at.getStart(), at.getEnd() + 1, '']),
  );
}

/** What a name in a declaration stands for, through imports and re-exports. */
function symbolOf(checker, node) {
  const symbol = checker.getSymbolAtLocation(node);
  return symbol && symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function identifiersIn(node) {
  const found = [];
  const visit = (at) => {
    if (ts.isIdentifier(at)) found.push(at);
    ts.forEachChild(at, visit);
  };
  visit(node);
  return found;
}

/**
 * What stands for a type that is said through another one, so that the other need not be published: the member's type for
 * `Plan['memory']`, the union for `(typeof KINDS)[number]` and `Exclude<…>`, the bare name for `import('…').Name`.
 * @returns a type node, text, or nothing where the type stays as written
 */
function inlined(checker, node) {
  if (ts.isImportTypeNode(node)) {
    if (node.typeArguments || node.isTypeOf) throw new Error(`${node.getText()}: import the name instead`);
    return node.qualifier;
  }
  const isIndexed = ts.isIndexedAccessTypeNode(node);
  if (isIndexed && ts.isLiteralTypeNode(node.indexType)) {
    const owner = checker.getTypeFromTypeNode(node.objectType);
    return owner.getProperty(node.indexType.literal.text)?.valueDeclaration?.type;
  }
  const isExclude = ts.isTypeReferenceNode(node) && node.typeName.getText() === 'Exclude';
  if (!isExclude && !(isIndexed && ts.isParenthesizedTypeNode(node.objectType))) return undefined;
  const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias;
  return checker.typeToString(checker.getTypeFromTypeNode(node), undefined, flags);
}

/** Every identifier of a statement as it will be written. */
function namesIn(checker, node) {
  const by = inlined(checker, node);
  if (typeof by === 'string') return [];
  if (by) return namesIn(checker, by);
  if (ts.isIdentifier(node)) return [node];
  const found = [];
  ts.forEachChild(node, (child) => void found.push(...namesIn(checker, child)));
  return found;
}

/** The text of a node as it will be written, from `start` on; `nameOf` gives the name to write for an identifier. */
function textOf(checker, nameOf, node, start = node.getStart()) {
  const spans = [];
  const visit = (at) => {
    const by = ts.isIdentifier(at) ? nameOf(at) : inlined(checker, at);
    const text = typeof by === 'object' ? textOf(checker, nameOf, by) : by;
    if (text === undefined) ts.forEachChild(at, visit);
    else spans.push([at.getStart() - start, at.getEnd() - start, text]);
  };
  visit(node);
  return splice(node.getSourceFile().text.slice(start, node.getEnd()), spans);
}

/** The top-level statements of `folder` that declare a symbol; none for a member or a type parameter. */
const homesOf = (symbol, folder) =>
  (symbol?.declarations ?? [])
    .filter((declaration) => !relative(folder, declaration.getSourceFile().fileName).startsWith('..'))
    .map((declaration) => (ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration))
    .filter((statement) => statement.parent && ts.isSourceFile(statement.parent));

/** Options keep their comments; methods and records have names that say it, and the docs. */
const shown = (statement, comment, space) =>
  ts.isInterfaceDeclaration(statement) && /Options$/.test(statement.name.text)
    ? `${firstSentence(comment.trim())}${space}`
    : '';

/** A comment's first sentence, on one line: what an editor shows at a glance. The rest is in the source and the docs. */
function firstSentence(comment) {
  const [plain] = comment
    .slice(3, -2)
    .replace(/\n\s*\*/g, ' ')
    .replace(/\s+/g, ' ')
    .split(' @');
  const [, sentence = plain] = /^((?:[^.(]|\([^)]*\)|\.(?! [A-Z]))+)\. /.exec(`${plain.trim()} `) ?? [];
  const text = sentence.trim().replace(/\.$/, '');
  return text === '' ? '' : `/** ${text}. */`;
}

/**
 * Moves the declarations of `folder`, rolled up, to `out`.
 * @param folder what the compiler emitted
 * @param fronts files that stay: the entries and what they re-export whole; `.d.ts`, relative to `folder`
 */
export function rollTypes(folder, out, fronts) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'));
  for (const file of files) hideInternals(join(folder, file));
  const kept = fronts.map((file) => resolve(folder, file));
  const options = { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [], noEmit: true };
  const program = ts.createProgram(kept, options);
  const checker = program.getTypeChecker();
  const isFront = (statement) => kept.includes(resolve(statement.getSourceFile().fileName));

  const reached = new Set();
  const reach = (node) => {
    for (const name of namesIn(checker, node)) {
      const symbol = symbolOf(checker, name);
      for (const statement of homesOf(symbol, folder)) {
        if (isFront(statement) || reached.has(statement)) continue;
        if (ts.isImportDeclaration(statement)) throw new Error(`${name.text}: a type from outside the package`);
        reached.add(statement);
        reach(statement);
      }
    }
  };
  const frontSources = kept.map((file) => program.getSourceFile(file));
  frontSources.forEach(reach);
  const exported = new Set(
    frontSources.flatMap(identifiersIn).flatMap((name) => homesOf(symbolOf(checker, name), folder)),
  );
  const documented = new Set([...exported].map((statement) => statement.getSourceFile()));

  // Names of different modules meet in one file: exported ones stay, another of the same name gets a number.
  const names = new Map();
  const taken = new Set();
  const first = [...reached].filter((statement) => exported.has(statement));
  for (const statement of new Set([...first, ...reached])) {
    const declared = ts.isVariableStatement(statement) ? statement.declarationList.declarations : [statement];
    for (const { name } of declared) {
      const symbol = checker.getSymbolAtLocation(name);
      if (names.has(symbol)) continue; // overloads, merged declarations
      let free = name.text;
      for (let n = 2; taken.has(free); n++) free = `${name.text}${n}`;
      if (free !== name.text && exported.has(statement)) throw new Error(`two entries export another ${name.text}`);
      names.set(symbol, free);
      taken.add(free);
    }
  }
  const nameOf = (identifier) => names.get(symbolOf(checker, identifier));

  const references = new Set();
  const printer = ts.createPrinter({ removeComments: true });
  const print = (statement) => {
    const source = statement.getSourceFile();
    for (const { fileName, preserve } of source.libReferenceDirectives) {
      if (preserve) references.add(`/// <reference lib="${fileName}" preserve="true" />\n`);
    }
    if (documented.has(source)) return textOf(checker, nameOf, statement, statement.jsDoc?.at(-1)?.pos);
    const bare = ts.createSourceFile('bare.d.ts', textOf(checker, nameOf, statement), ts.ScriptTarget.ES2022);
    return printer.printFile(bare).trimEnd();
  };
  const comments = (statement) =>
    print(statement).replace(/\/\*\*.*?\*\/(\s*)/gs, (comment, space) => shown(statement, comment, space));
  const text = [...reached]
    .map(comments)
    .join('\n')
    .replace(/^(?: {4})+/gm, (space) => ' '.repeat(space.length / 4));
  const rolled = join(folder, `${ROLLED}.d.ts`);

  const fronted = frontSources.map((source) => {
    const spans = source.statements
      .filter(({ moduleSpecifier }) => moduleSpecifier)
      .flatMap(({ moduleSpecifier }) => {
        const target = resolve(dirname(source.fileName), moduleSpecifier.text.replace(/\.js$/, '.d.ts'));
        if (kept.includes(target)) return [];
        const path = relative(dirname(source.fileName), join(folder, `${ROLLED}.js`)).replaceAll('\\', '/');
        const by = `'${path.startsWith('.') ? path : `./${path}`}'`;
        return [[moduleSpecifier.getStart(), moduleSpecifier.getEnd(), by]];
      });
    return [source.fileName, splice(source.text, spans)];
  });
  for (const [file, content] of [...fronted, [rolled, `${[...references].join('')}${text}\n`]]) {
    const target = join(out, relative(folder, file));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
  for (const file of files) rmSync(join(folder, file));
}
