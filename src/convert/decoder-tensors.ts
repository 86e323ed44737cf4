import type { DecoderFacts, DecoderModel } from './decoder.js';
import { MgtError } from '../errors.js';
import type { SafeTensor } from './safetensors.js';
import type { Shards } from './shards.js';

/** Where one of our matrices [outputs][inputs] lies in the files. */
export interface MatrixPlace {
  readonly tensor: string;
  readonly outputs: number;
  readonly inputs: number;
  /** Stored [inputs][width], width ≥ outputs, as GPT-2's Conv1D: our outputs are its columns from `first` on. */
  readonly transposed?: { readonly width: number; readonly first: number };
}

/** Where one of our vectors lies: `length` values of a tensor [width], from `first` on. */
export interface VectorPlace {
  readonly tensor: string;
  readonly length: number;
  readonly width: number;
  readonly first: number;
}

/** Our names to places; every place is needed. */
export interface Places {
  readonly matrices: ReadonlyMap<string, MatrixPlace>;
  readonly vectors: ReadonlyMap<string, VectorPlace>;
  /** Vectors that are in no file. */
  readonly computed: ReadonlyMap<string, Float32Array>;
}

/** Input rows of a transposed tensor read at a time. */
const STRIP = 64;
/** Rows compared at a time. */
const BLOCK = 512;

/**
 * A decoder over open files. Checks that every tensor is there in its shape; values are checked where they are read.
 * One transposed tensor at a time is held as floats, since its outputs lie in columns.
 * @throws MgtError `BadFile` naming the tensor that is missing or has another shape
 */
export function decoderOver(facts: DecoderFacts, places: Places, files: Shards): DecoderModel {
  for (const { tensor, outputs, inputs, transposed } of places.matrices.values()) {
    needTensor(files, tensor, transposed ? [inputs, transposed.width] : [outputs, inputs]);
  }
  for (const { tensor, width } of places.vectors.values()) needTensor(files, tensor, [width]);
  let held: { readonly tensor: string; readonly values: Float32Array } | undefined;
  return {
    facts,
    rows(name, from, to) {
      const place = places.matrices.get(name);
      if (!place) throw new MgtError('BadInput', 'name', 'a matrix of the model', name);
      const { tensor, outputs, inputs, transposed } = place;
      if (!(from >= 0 && from <= to && to <= outputs)) {
        throw new MgtError('BadInput', `${name} rows`, `a range inside 0..${outputs}`, `${from}..${to}`);
      }
      const source = files.tensor(tensor);
      if (!transposed) return source.read(from, to - from);
      if (held?.tensor !== tensor) {
        held = undefined; // free before the next one is made
        held = { tensor, values: transpose(source, inputs, transposed.width) };
      }
      return held.values.subarray((transposed.first + from) * inputs, (transposed.first + to) * inputs);
    },
    vector(name) {
      const place = places.vectors.get(name);
      if (!place) return places.computed.get(name);
      return files.tensor(place.tensor).read(place.first, place.length);
    },
    close: () => files.close(),
  };
}

/** @throws MgtError `BadFile` naming a tensor that is missing or has another shape */
export function needTensor(files: Shards, name: string, shape: readonly number[]): void {
  const found = files.tensor(name).shape;
  if (found.length === shape.length && found.every((n, i) => n === shape[i])) return;
  throw new MgtError('BadFile', `${files.file}.${name}.shape`, `[${shape}]`, `[${found}]`);
}

/** [inputs][width] to [width][inputs]. */
function transpose(tensor: SafeTensor, inputs: number, width: number): Float32Array {
  const out = new Float32Array(inputs * width);
  for (let first = 0; first < inputs; first += STRIP) {
    const rows = Math.min(STRIP, inputs - first);
    const strip = tensor.read(first, rows);
    for (let c = 0; c < width; c++) {
      const at = c * inputs + first;
      for (let r = 0; r < rows; r++) out[at + r] = strip[r * width + c]!;
    }
  }
  return out;
}

/**
 * Is the token table the head? Where the configuration ties them and the files hold a head all the same, equal values
 * decide, as in transformers 5. Where it says nothing, a head that is not there is tied; where it says false, it is missing.
 * @throws MgtError `BadFile` naming the head
 */
export function isTied(files: Shards, tied: boolean | undefined, head: string, table: string, rows: number): boolean {
  if (!files.has(head)) {
    if (tied === false) needTensor(files, head, []);
    return true;
  }
  return tied === true && sameValues(files, head, table, rows);
}

function sameValues(files: Shards, a: string, b: string, rows: number): boolean {
  const [one, other] = [files.tensor(a), files.tensor(b)];
  if (one.shape.join() !== other.shape.join()) return false;
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    const right = other.read(first, count);
    if (one.read(first, count).some((value, i) => value !== right[i])) return false;
  }
  return true;
}
