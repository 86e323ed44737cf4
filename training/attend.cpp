// Attention of one new position of many sequences, each over its own columns and over a prompt that all share.
// bf16 in, f32 sums. PyTorch's own kernels read these caches at a quarter of the speed (three query rows a group).
#include <torch/extension.h>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {
constexpr int WIDTH = 64;

inline float widen(uint16_t bits) {
    uint32_t word = (uint32_t) bits << 16;
    float value;
    __builtin_memcpy(&value, &word, 4);
    return value;
}

// q [B, G * P, 64] (scaled), keys and values [B, G, C, 64], hidden f32 [B, C], shared f32 [B, G * P, S] scores.
// Returns out f32 [B, G * P, 64] over the own columns; `shared` becomes the probabilities of the prompt's columns.
template <int P>
void attend(const uint16_t * q, const uint16_t * keys, const uint16_t * values, const float * hidden, float * shared,
            float * out, int64_t count, int64_t groups, int64_t columns, int64_t end, int64_t prompt) {
    std::vector<float> scores(P * (end + 1));
    for (int64_t b = 0; b < count; b++) {
        const float * mask = hidden + b * columns;
        for (int64_t g = 0; g < groups; g++) {
            const uint16_t * k = keys + (b * groups + g) * columns * WIDTH;
            const uint16_t * v = values + (b * groups + g) * columns * WIDTH;
            float query[P][WIDTH];
            for (int p = 0; p < P; p++)
                for (int i = 0; i < WIDTH; i++) query[p][i] = widen(q[((b * groups + g) * P + p) * WIDTH + i]);
            for (int64_t t = 0; t < end; t++) {
                float key[WIDTH];
                for (int i = 0; i < WIDTH; i++) key[i] = widen(k[t * WIDTH + i]);
                for (int p = 0; p < P; p++) {
                    float sum = 0;
                    for (int i = 0; i < WIDTH; i++) sum += query[p][i] * key[i];
                    scores[p * end + t] = sum + mask[t];
                }
            }
            for (int p = 0; p < P; p++) {
                float * own = scores.data() + p * end;
                float * common = shared + ((b * groups + g) * P + p) * prompt;
                float top = -3e38f;
                for (int64_t t = 0; t < end; t++) top = own[t] > top ? own[t] : top;
                for (int64_t t = 0; t < prompt; t++) top = common[t] > top ? common[t] : top;
                float sum = 0;
                for (int64_t t = 0; t < end; t++) sum += own[t] = expf(own[t] - top);
                for (int64_t t = 0; t < prompt; t++) sum += common[t] = expf(common[t] - top);
                const float scale = 1 / sum;
                for (int64_t t = 0; t < end; t++) own[t] *= scale;
                for (int64_t t = 0; t < prompt; t++) common[t] *= scale;
            }
            float total[P][WIDTH] = {};
            for (int64_t t = 0; t < end; t++) {
                float value[WIDTH];
                for (int i = 0; i < WIDTH; i++) value[i] = widen(v[t * WIDTH + i]);
                for (int p = 0; p < P; p++)
                    for (int i = 0; i < WIDTH; i++) total[p][i] += scores[p * end + t] * value[i];
            }
            __builtin_memcpy(out + (b * groups + g) * P * WIDTH, total, sizeof total);
        }
    }
}
}  // namespace

torch::Tensor attend_one(torch::Tensor q, torch::Tensor keys, torch::Tensor values, torch::Tensor hidden,
                         torch::Tensor shared, int64_t end) {
    const auto sizes = keys.sizes();
    for (const auto & tensor : {q, keys, values, hidden, shared}) TORCH_CHECK(tensor.is_contiguous());
    TORCH_CHECK(sizes[3] == WIDTH && q.size(1) == sizes[1] * 3 && q.scalar_type() == torch::kBFloat16);
    TORCH_CHECK(shared.scalar_type() == torch::kFloat && hidden.scalar_type() == torch::kFloat);
    auto out = torch::empty({sizes[0], q.size(1), WIDTH}, torch::kFloat);
    const auto bits = [](const torch::Tensor & tensor) { return (const uint16_t *) tensor.data_ptr(); };
    attend<3>(bits(q), bits(keys), bits(values), hidden.data_ptr<float>(), shared.data_ptr<float>(),
              out.data_ptr<float>(), sizes[0], sizes[1], sizes[2], end, shared.size(2));
    return out;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("attend_one", &attend_one); }
