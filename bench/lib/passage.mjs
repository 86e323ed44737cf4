/** Running English for inputs of any length: Charles Darwin, On the Origin of Species (1859), opening of the introduction. */
export const PASSAGE = `When on board H.M.S. Beagle, as naturalist, I was much struck with certain facts in the distribution of the
inhabitants of South America, and in the geological relations of the present to the past inhabitants of that continent.
These facts seemed to me to throw some light on the origin of species, that mystery of mysteries, as it has been called by
one of our greatest philosophers. On my return home, it occurred to me, in 1837, that something might perhaps be made out
on this question by patiently accumulating and reflecting on all sorts of facts which could possibly have any bearing on
it. After five years' work I allowed myself to speculate on the subject, and drew up some short notes; these I enlarged in
1844 into a sketch of the conclusions, which then seemed to me probable: from that period to the present day I have
steadily pursued the same object. I hope that I may be excused for entering on these personal details, as I give them to
show that I have not been hasty in coming to a decision. My work is now nearly finished; but as it will take me two or
three more years to complete it, and as my health is far from strong, I have been urged to publish this Abstract. I have
more especially been induced to do this, as Mr. Wallace, who is now studying the natural history of the Malay archipelago,
has arrived at almost exactly the same general conclusions that I have on the origin of species. Last year he sent to me a
memoir on this subject, with a request that I would forward it to Sir Charles Lyell, who sent it to the Linnean Society,
and it is published in the third volume of the Journal of that Society. Sir C. Lyell and Dr. Hooker, who both knew of my
work, honoured me by thinking it advisable to publish, with Mr. Wallace's excellent memoir, some brief extracts from my
manuscripts. This Abstract, which I now publish, must necessarily be imperfect. I cannot here give references and
authorities for my several statements; and I must trust to the reader reposing some confidence in my accuracy.`;

/** A single-token word of MiniLM's vocabulary, to fill up with. */
const FILLER = 'and';

/**
 * Texts of exactly `tokens` tokens each, specials included, from the passage, going round.
 * @param {(text: string) => number[]} encode ids with specials
 */
export function textsOfLength(encode, tokens, count) {
  const words = PASSAGE.split(/\s+/);
  let next = 0;
  return Array.from({ length: count }, () => {
    const text = [];
    for (;;) {
      const size = encode([...text, words[next % words.length]].join(' ')).length;
      if (size > tokens) break;
      text.push(words[next++ % words.length]);
    }
    while (encode(text.join(' ')).length < tokens) text.push(FILLER);
    const found = encode(text.join(' ')).length;
    if (found !== tokens) throw new Error(`a text of ${found} tokens where ${tokens} were asked for`);
    return text.join(' ');
  });
}
