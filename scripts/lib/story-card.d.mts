export function replacePart(document: string, name: string, body: string): string;
export function cardParts(result: object, evaluation?: object): Record<string, string>;
