import { MgtError } from '../../errors.js';

/** What a GGUF header says of its model, key by key; every getter is strict about the type it finds. */
export class Metadata {
  readonly #file: string;
  #values: ReadonlyMap<string, unknown>;

  constructor(file: string, values: ReadonlyMap<string, unknown>) {
    this.#file = file;
    this.#values = values;
  }

  /** Lets go of all values: a vocabulary takes tens of megabytes. */
  forget(): void {
    this.#values = new Map();
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** A string. @throws MgtError `BadFile`, also where it is missing and `missing` is not given */
  text(key: string, missing?: string): string {
    const value = this.#get(key, missing);
    return typeof value === 'string' ? value : this.#bad(key, 'a string', value);
  }

  /**
   * An integer in min..max; a list of one value for every layer counts as that value.
   * @throws MgtError `BadFile`; `UnsupportedArchitecture` where layers differ
   */
  integer(key: string, min: number, max: number, missing?: number): number {
    const value = this.#one(key, missing);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.#bad(key, `an integer in ${min}..${max}`, value);
  }

  /** A finite number. @throws MgtError `BadFile` */
  real(key: string, missing?: number): number {
    const value = this.#one(key, missing);
    return typeof value === 'number' && Number.isFinite(value) ? value : this.#bad(key, 'a finite number', value);
  }

  /** @throws MgtError `BadFile` */
  flag(key: string, missing: boolean): boolean {
    const value = this.#get(key, missing);
    return typeof value === 'boolean' ? value : this.#bad(key, 'true or false', value);
  }

  /** A list of strings. @throws MgtError `BadFile` */
  texts(key: string): readonly string[] {
    const value = this.#get(key, undefined);
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    return this.#bad(key, 'a list of strings', value);
  }

  /** A list of numbers, undefined where the key is missing. @throws MgtError `BadFile` */
  numbers(key: string): readonly number[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#get(key, undefined);
    if (Array.isArray(value) && value.every((item) => typeof item === 'number')) return value;
    return this.#bad(key, 'a list of numbers', value);
  }

  /** A number, or what every entry of a list of numbers is. */
  #one(key: string, missing: number | undefined): unknown {
    const value = this.#get(key, missing);
    if (!Array.isArray(value)) return typeof value === 'bigint' ? Number(value) : value;
    const first: unknown = value[0];
    if (value.every((item) => item === first)) return first;
    throw new MgtError('UnsupportedArchitecture', this.#name(key), 'one value for all layers', value);
  }

  #get(key: string, missing: unknown): unknown {
    return this.#values.get(key) ?? missing;
  }

  #name(key: string): string {
    return `${this.#file}.${key}`;
  }

  #bad(key: string, expected: string, got: unknown): never {
    throw new MgtError('BadFile', this.#name(key), expected, typeof got === 'bigint' ? String(got) : got);
  }
}
