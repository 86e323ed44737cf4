/** Where a model comes from and under which terms: short texts that travel inside the file. */

/** Longest name or licence kept, in characters. */
const MAX_LENGTH = 120;

/**
 * A model's name: its directory's, unless that is empty or a commit hash (a hub cache), else what config.json
 * says. `_name_or_path` comes second because a fine-tuned model keeps the name of the one it started from there.
 * Paths are cut to their last part: no path stands in a file.
 */
export function modelName(directory: string, nameOrPath: string | undefined): string {
  const named = directory !== '' && !/^[0-9a-f]{40}$/.test(directory);
  const candidates = named ? [directory, nameOrPath] : [nameOrPath, directory];
  for (const candidate of candidates) {
    const name = oneLine(withoutPath(candidate ?? ''));
    if (name !== '') return name;
  }
  return 'unknown';
}

/** `owner/model` stays; anything longer or rooted is a path and gives its last part. */
function withoutPath(name: string): string {
  if (/^[\w-][\w.-]*(?:\/[\w-][\w.-]*)?$/.test(name)) return name;
  const parts = name.split(/[\\/]+/).filter((part) => part !== '' && part !== '.' && part !== '..');
  return parts[parts.length - 1] ?? '';
}

/** The licence: `license:` of README.md's front matter, else the first line of LICENSE, else "unknown". */
export function licenceOf(readme: Uint8Array | undefined, licence: Uint8Array | undefined): string {
  // Only shown, never parsed for meaning: odd bytes become U+FFFD.
  const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
  const stated = frontMatterLicence(text(readme));
  if (stated !== '') return stated;
  const first = text(licence)
    .split('\n')
    .find((line) => line.trim() !== '');
  return oneLine(first ?? '') || 'unknown';
}

function frontMatterLicence(readme: string): string {
  const front = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1] ?? '';
  const value = /^license:[ \t]*(.*(?:\r?\n[ \t]*-[ \t]+.*)*)/m.exec(front)?.[1] ?? '';
  const names = value.split(/\r?\n/).map((part) => part.replace(/^[ \t]*-[ \t]+/, '').replace(/\s+#.*$/, ''));
  return oneLine(
    names
      .map((name) => name.replace(/["'[\]]/g, '').trim())
      .filter((name) => name !== '')
      .join(', '),
  );
}

export const oneLine = (text: string): string =>
  text
    .replace(/\b[a-z][a-z\d+.-]*:\/\/\S*/gi, '') // no URL stands in a file
    // Control characters would reach terminals through `inspect`.
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_LENGTH);
