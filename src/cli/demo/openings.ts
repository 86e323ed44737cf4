/** Starts of stories for who has none in mind. */
export const OPENINGS: readonly string[] = [
  'Once upon a time, there was a little fox named',
  'One day, a small bear found a red ball in the forest.',
  'Once upon a time, in a tiny house near the mill, lived a cat called',
  'It was raining, and the little duck was happy.',
  'There once was a brave mouse who lived near the mill.',
  'Tom and his dog went to the lake.',
  '"Please help me!" said the rabbit.',
  'In the evening, an owl found an old map in',
];
