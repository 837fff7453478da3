/* Y = X W^T + bias for a sparse W, one thread, float32.
 *
 * X [batch, columns] and Y [batch, rows] are row-major. The rows of W come in groups of 1 or 4; of a group, the columns
 * in which any of its rows has a value are stored, with one value a row (group 1 is CSR with 16-bit columns).
 *
 * A batch is worked off in panels of 64, 32 or 16 items: X is transposed into a panel, so that one weight multiplies
 * whole vectors of items whose sums stay in registers, and a column's items are read once for all rows of a group.
 * One item alone is a sum of products read at scattered places. The vector type is the compiler's (GCC and Clang).
 */
#include <stdint.h>

#define LANES 16
#define TILE 16 /* rows whose results are written together */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
#define INLINE static inline __attribute__((always_inline))

INLINE void transpose(const float *x, long columns, long items, long room, float *panel) {
    for (long from = 0; from < columns; from += LANES) {
        const long to = from + LANES < columns ? from + LANES : columns;
        for (long item = 0; item < items; item++)
            for (long c = from; c < to; c++) panel[c * room + item] = x[item * columns + c];
        for (long item = items; item < room; item++)
            for (long c = from; c < to; c++) panel[c * room + item] = 0.0f;
    }
}

INLINE void product(const int group, const int width, long rows, const int32_t *begin, const uint16_t *column,
                    const float *value, const float *bias, const lanes *panel, long items, float *y) {
    const long room = width * LANES;
    float tile[TILE * 4 * LANES] __attribute__((aligned(64)));
    for (long first = 0; first < rows; first += TILE) {
        const long here = rows - first < TILE ? rows - first : TILE;
        for (long r = 0; r < here; r += group) {
            const long g = (first + r) / group;
            lanes sum[4][4];
            for (int i = 0; i < group; i++)
                for (int w = 0; w < width; w++) sum[i][w] = (lanes){0};
            for (int32_t k = begin[g]; k < begin[g + 1]; k++) {
                const lanes *at = panel + (long)column[k] * width;
                for (int i = 0; i < group; i++)
                    for (int w = 0; w < width; w++) sum[i][w] += value[(long)k * group + i] * at[w];
            }
            for (int i = 0; i < group; i++)
                for (int w = 0; w < width; w++) *(lanes *)(tile + (r + i) * room + w * LANES) = sum[i][w];
        }
        for (long item = 0; item < items; item++)
            for (long r = 0; r < here; r++)
                y[item * rows + first + r] = tile[r * room + item] + (bias ? bias[first + r] : 0.0f);
    }
}

INLINE void alone(const int group, long rows, const int32_t *begin, const uint16_t *column, const float *value,
                  const float *bias, const float *x, float *y) {
    for (long g = 0; g * group < rows; g++) {
        float sum[4][4] = {{0}};
        int32_t k = begin[g];
        for (; k + 4 <= begin[g + 1]; k += 4)
            for (int part = 0; part < 4; part++) {
                const float at = x[column[k + part]];
                for (int i = 0; i < group; i++) sum[i][part] += value[(long)(k + part) * group + i] * at;
            }
        for (; k < begin[g + 1]; k++)
            for (int i = 0; i < group; i++) sum[i][0] += value[(long)k * group + i] * x[column[k]];
        for (int i = 0; i < group; i++) {
            const long row = g * group + i;
            y[row] = sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3] + (bias ? bias[row] : 0.0f);
        }
    }
}

INLINE void whole(const int group, long batch, long columns, long rows, const int32_t *begin, const uint16_t *column,
                  const float *value, const float *bias, const float *x, float *room, float *y) {
    if (batch == 1) {
        alone(group, rows, begin, column, value, bias, x, y);
        return;
    }
    for (long done = 0; done < batch;) {
        const long left = batch - done;
        const int width = left > 2 * LANES ? 4 : left > LANES ? 2 : 1;
        const long items = left < width * LANES ? left : width * LANES;
        transpose(x + done * columns, columns, items, width * LANES, room);
        if (width == 4)
            product(group, 4, rows, begin, column, value, bias, (const lanes *)room, items, y + done * rows);
        else if (width == 2)
            product(group, 2, rows, begin, column, value, bias, (const lanes *)room, items, y + done * rows);
        else
            product(group, 1, rows, begin, column, value, bias, (const lanes *)room, items, y + done * rows);
        done += items;
    }
}

/* room: 64-byte aligned, columns * 64 floats. rows is a multiple of the group, columns at most 65536. */
void spmm1(long batch, long columns, long rows, const int32_t *begin, const uint16_t *column, const float *value,
           const float *bias, const float *x, float *room, float *y) {
    whole(1, batch, columns, rows, begin, column, value, bias, x, room, y);
}

void spmm4(long batch, long columns, long rows, const int32_t *begin, const uint16_t *column, const float *value,
           const float *bias, const float *x, float *room, float *y) {
    whole(4, batch, columns, rows, begin, column, value, bias, x, room, y);
}
