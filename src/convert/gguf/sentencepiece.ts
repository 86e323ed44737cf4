/**
 * SentencePiece's BPE, which joins the pair whose union has the best score, as a list of merges, which is what a
 * tokenizer.json holds. Both give the same tokens but where one token comes of different pairs that overlap in a text
 * (`aaa` of `aa`, `a`): the list prefers one pair over the other, the scores the one on the left.
 */

/** SentencePiece's space. */
export const MARK = '\u2581';

/**
 * Every pair of tokens whose union is a token, best score first, then by id of the union, then of the left part.
 * @param tokens by id
 * @param scores by id
 * @param joinable ids of tokens that stand for text (not control, byte or unused ones)
 */
export function mergesOf(
  tokens: readonly string[],
  scores: readonly number[],
  joinable: readonly number[],
): (readonly [string, string])[] {
  const ids = new Map(joinable.map((id) => [tokens[id]!, id]));
  const order = [...joinable].sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.flatMap((id) => {
    const token = tokens[id]!;
    const pairs: { left: string; right: string; at: number }[] = [];
    for (let cut = 1; cut < token.length; cut++) {
      const left = token.slice(0, cut);
      const at = ids.get(left);
      const right = token.slice(cut);
      if (at !== undefined && ids.has(right)) pairs.push({ left, right, at });
    }
    return pairs.sort((a, b) => a.at - b.at).map(({ left, right }) => [left, right] as const);
  });
}

/** True where no token holds a space behind other text: then a text may be cut before every run of spaces. */
export const endsAtSpaces = (tokens: readonly string[]): boolean =>
  !tokens.some((token) => /[^\u2581]\u2581/u.test(token));
