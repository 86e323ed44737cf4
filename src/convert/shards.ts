import { MgtError } from '../errors.js';
import { asObject, objectOf } from './json.js';
import { openSafetensors, type SafeTensors } from './safetensors.js';
import { openFile, type FileSource, type RandomAccess, type ReadOptions } from './source.js';

/** The weights of a directory, whatever the number of files they lie in. */
export interface Shards extends SafeTensors {
  /** What errors call the weights as a whole. */
  readonly file: string;
  close(): void;
}

const WHOLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * Opens `model.safetensors` or, where there is none, the files that `model.safetensors.index.json` names. Only headers
 * are read here; rows come from the files on demand (sources that cannot open a file hold it whole).
 * @param folder path below the source, '' or ending in '/'
 * @throws MgtError `FileNotFound`, `BadFile`, `Truncated` naming the shard, `Aborted`
 */
export async function openShards(source: FileSource, folder = '', options: ReadOptions = {}): Promise<Shards> {
  const opened: RandomAccess[] = [];
  const close = (): void => opened.splice(0).forEach((file) => file.close());
  const open = async (path: string): Promise<SafeTensors | undefined> => {
    const file = await openFile(source, path, options);
    if (!file) return undefined;
    opened.push(file);
    return openSafetensors(file, path);
  };
  try {
    const whole = await open(folder + WHOLE);
    if (whole) return { ...whole, file: folder + WHOLE, close };
    const index = await source.read(folder + INDEX, { signal: options.signal });
    if (!index) throw new MgtError('FileNotFound', folder + WHOLE, 'the weights of the model', 'no such file');
    const map = weightMap(folder + INDEX, index);
    const shards = new Map<string, SafeTensors>();
    for (const name of new Set(map.values())) {
      const shard = await open(folder + name);
      if (!shard) throw new MgtError('FileNotFound', folder + name, `a file that ${INDEX} names`, 'no such file');
      shards.set(name, shard);
    }
    return { ...joined(map, shards, folder + INDEX), file: folder + INDEX, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Tensor name to shard; a shard is a file of the same folder, never a path. */
function weightMap(file: string, bytes: Uint8Array): Map<string, string> {
  const map = asObject(`${file}.weight_map`, objectOf(file, bytes).weight_map);
  return new Map(
    Object.entries(map).map(([tensor, shard]) => {
      // No separator and no colon: nothing here can leave the folder, on any system.
      if (typeof shard !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(shard)) {
        throw new MgtError('BadFile', `${file}.weight_map.${tensor}`, 'the name of a .safetensors file', shard);
      }
      return [tensor, shard];
    }),
  );
}

function joined(map: Map<string, string>, shards: Map<string, SafeTensors>, file: string): SafeTensors {
  for (const [name, shard] of map) {
    if (!shards.get(shard)!.has(name)) {
      throw new MgtError('BadFile', `${file}.weight_map.${name}`, `a tensor of ${shard}`, 'none of this name');
    }
  }
  return {
    names: [...map.keys()],
    has: (name) => map.has(name),
    tensor(name) {
      const shard = map.get(name);
      if (shard === undefined) throw new MgtError('BadFile', `${file}.${name}`, 'a tensor', 'none of this name');
      return shards.get(shard)!.tensor(name);
    },
  };
}
