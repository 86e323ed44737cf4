export function replacePart(document: string, name: string, body: string): string;
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[], texts?: number): string;
export function decoderPart(result: object): string;
export function storiesPart(result: object): string;
