// llama.cpp on one CPU thread, held open: one line in, one line out, so that it can take turns with the other contenders.
//
//   llama-runner MODEL.gguf CONTEXT
//   stdin   P N id…      P prompt ids, then N ids that are fed one by one whatever was chosen
//   stdout  {"prefillMs": …, "decodeMs": …, "picks": [the most likely id after the prompt and after each id fed]}
#include "llama.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

static double now() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

static void fail(const char * what) {
    fprintf(stderr, "llama-runner: %s\n", what);
    exit(1);
}

// Feeds tokens in one batch and returns the most likely next id (llama.cpp's own greedy sampler).
static llama_token step(llama_context * context, llama_sampler * greedy, llama_token * ids, int count) {
    if (llama_decode(context, llama_batch_get_one(ids, count)) != 0) fail("llama_decode failed");
    return llama_sampler_sample(greedy, context, -1);
}

int main(int argc, char ** argv) {
    if (argc != 3) fail("usage: llama-runner MODEL.gguf CONTEXT");
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(argv[1], model_params);
    if (!model) fail("cannot load the model");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = atoi(argv[2]);
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = 1;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) fail("cannot make a context");
    llama_sampler * greedy = llama_sampler_init_greedy();
    printf("{\"system\": \"%s\"}\n", llama_print_system_info());
    fflush(stdout);

    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream in(line);
        int prompt = 0, fed = 0;
        in >> prompt >> fed;
        std::vector<llama_token> ids;
        for (llama_token id; in >> id;) ids.push_back(id);
        if (prompt < 1 || fed < 0 || (int) ids.size() != prompt + fed) fail("wrong number of ids");

        llama_memory_clear(llama_get_memory(context), false);
        std::vector<llama_token> picks;
        const double start = now();
        picks.push_back(step(context, greedy, ids.data(), prompt));
        const double prefilled = now();
        for (int i = 0; i < fed; i++) {
            picks.push_back(step(context, greedy, &ids[prompt + i], 1));
        }
        const double decoded = now();
        printf("{\"prefillMs\": %.4f, \"decodeMs\": %.4f, \"picks\": [", prefilled - start, decoded - prefilled);
        for (size_t i = 0; i < picks.size(); i++) printf("%s%d", i ? ", " : "", picks[i]);
        printf("]}\n");
        fflush(stdout);
    }
    llama_sampler_free(greedy);
    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
}
