import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** One import or re-export, static or dynamic. */
export interface Import {
  /** As written. */
  readonly specifier: string;
  /** Path below src/, for relative imports. */
  readonly file: string | undefined;
  /** Vanishes when compiled. */
  readonly typeOnly: boolean;
}

export interface Module {
  /** Path below src/, as in `engine/model.ts`. */
  readonly file: string;
  readonly imports: readonly Import[];
  /** Members of `Math` that the code names. */
  readonly math: readonly string[];
  /** Names the code mentions outside of types. */
  readonly names: ReadonlySet<string>;
}

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** Every module of src/, parsed. */
export function readModules(): readonly Module[] {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts'))
    .sort();
  return files.map((file) => parseModule(file, readFileSync(SRC + file, 'utf8')));
}

export function parseModule(file: string, text: string): Module {
  const imports: Import[] = [];
  const math: string[] = [];
  const names = new Set<string>();
  const add = (literal: ts.Node, typeOnly: boolean): void => {
    const specifier = ts.isStringLiteralLike(literal) ? literal.text : literal.getText();
    const relative = specifier.startsWith('.');
    const target = posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
    imports.push({ specifier, file: relative ? target : undefined, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return add(node.moduleSpecifier, vanishes(node));
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) return add(node.moduleSpecifier, vanishes(node));
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0]!, false);
    if (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) return;
    if (ts.isPropertyAccessExpression(node) && node.expression.getText() === 'Math') math.push(node.name.text);
    if (ts.isElementAccessExpression(node) && node.expression.getText() === 'Math') math.push('[computed]');
    if (ts.isVariableDeclaration(node) && node.initializer?.getText() === 'Math') {
      const picked = ts.isObjectBindingPattern(node.name) ? node.name.elements : undefined;
      math.push(...(picked?.map((element) => (element.propertyName ?? element.name).getText()) ?? ['[aliased]']));
    }
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true));
  return { file, imports, math, names };
}

/** True where the compiler drops the whole statement: `import type`, or only `type` names between the braces. */
function vanishes(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) {
    const named = node.exportClause && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : undefined;
    return node.isTypeOnly || (named !== undefined && named.length > 0 && named.every((e) => e.isTypeOnly));
  }
  const clause = node.importClause;
  if (!clause) return false;
  if (clause.isTypeOnly) return true;
  const named =
    clause.namedBindings && ts.isNamedImports(clause.namedBindings) ? clause.namedBindings.elements : undefined;
  return !clause.name && named !== undefined && named.length > 0 && named.every((e) => e.isTypeOnly);
}

/** Files that run when `file` is imported, itself included. */
export function reach(modules: readonly Module[], file: string): ReadonlySet<string> {
  const byFile = new Map(modules.map((module) => [module.file, module]));
  const seen = new Set<string>();
  const walk = (at: string): void => {
    if (seen.has(at)) return;
    seen.add(at);
    for (const { file: next, typeOnly } of byFile.get(at)?.imports ?? []) if (next && !typeOnly) walk(next);
  };
  walk(file);
  return seen;
}
