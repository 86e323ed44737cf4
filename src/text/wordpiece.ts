/**
 * WordPiece: a word becomes the longest token it begins with, then the longest continuing one, and so on; the unknown
 * token if any part is in none. Same answers as the library's, which joins characters anew for every length it tries
 * up to the whole word (254 unknown words of 97 letters: 3.9 s); no token is that long, so shorter ones are enough.
 *
 * @param ids token to id
 * @param prefix what continuing tokens begin with: `##`
 * @param unknown the unknown token
 * @param longestWord code points beyond which a word is unknown
 */
export function wordPiece(
  ids: ReadonlyMap<string, number>,
  prefix: string,
  unknown: string,
  longestWord: number,
): (words: readonly string[]) => string[] {
  let longest = 0;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);

  /** Adds the tokens of `word` to `out`; false, and `out` as it was, if there are none. */
  const cut = (word: string, out: string[]): boolean => {
    const before = out.length;
    let start = 0;
    while (start < word.length) {
      const head = start === 0 ? '' : prefix;
      let end = Math.min(word.length, start + longest - head.length);
      // A length that splits a surrogate pair is no token's: vocabularies hold whole characters.
      while (end > start && !ids.has(head + word.slice(start, end))) end--;
      if (end <= start) {
        out.length = before;
        return false;
      }
      out.push(head + word.slice(start, end));
      start = end;
    }
    return true;
  };

  return (words) => {
    const out: string[] = [];
    for (const word of words) {
      if (codePoints(word, longestWord) > longestWord || !cut(word, out)) out.push(unknown);
    }
    return out;
  };
}

/** Code points of `word`; of a longer one than twice `enough` units, which has more code points than that, the units. */
function codePoints(word: string, enough: number): number {
  return word.length <= enough || word.length > 2 * enough ? word.length : [...word].length;
}
