/* A test double of libnvidia-ml.so.1: boards whose power follows a known law, so that true joules are known.
 *
 * Options stand in the file named by NVML_STUB_OPTIONS, one `name=value` a line, read again when it changes; a
 * line `1.watts=300` is for board 1 alone. Times are CLOCK_MONOTONIC, so all processes see one truth.
 *
 *   boards, name, uuid, procs (pids or `self`, by commas), arch, temp, temp_per_s, sm_mhz, reasons, limit_mw, mig
 *   law = constant | square | step | schedule;  watts, idle (W);  period, duty, phase (square);  t0, t1 (step)
 *   schedule = a file of lines "second watts"
 *   counter_period, power_period, power_window (s);  offset_mj, wrap_mj;  reset_at, stuck_at, lost_at (s)
 *   err.<function> = code[@second]: what it returns (3 NotSupported, 4 NoPermission, 13 no such function)
 *   log = a file that gets the name of every function that is called
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
typedef unsigned int u32;
typedef unsigned long long u64;

enum { OK, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, TOO_SMALL, LOST = 15 };
enum { LINES = 256, WIDTH = 400, BOARDS = 8 };

static char lines[LINES][WIDTH];
static int count_of_lines, users;
static struct timespec read_at;
static int boards[BOARDS] = {0, 1, 2, 3, 4, 5, 6, 7};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void read_options(void) {
    const char *path = getenv("NVML_STUB_OPTIONS");
    struct stat about;
    if (!path || stat(path, &about)) return;
    if (about.st_mtim.tv_sec == read_at.tv_sec && about.st_mtim.tv_nsec == read_at.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    read_at = about.st_mtim;
    for (count_of_lines = 0; count_of_lines < LINES && fgets(lines[count_of_lines], WIDTH, file); count_of_lines++)
        lines[count_of_lines][strcspn(lines[count_of_lines], "\n")] = 0;
    fclose(file);
}

static const char *find(const char *name) {
    size_t n = strlen(name);
    for (int i = count_of_lines; i-- > 0;) /* the last line of a name wins: a test appends what changes */
        if (!strncmp(lines[i], name, n) && lines[i][n] == '=') return lines[i] + n + 1;
    return NULL;
}

static const char *text(int board, const char *name, const char *otherwise) {
    char own[WIDTH + 16];
    snprintf(own, sizeof own, "%d.%s", board, name);
    const char *found = find(own);
    if (!found) found = find(name);
    return found ? found : otherwise;
}

static double number(int board, const char *name, double otherwise) {
    const char *found = text(board, name, NULL);
    return found ? atof(found) : otherwise;
}

/* Exact joules from second 0 to t. */
static double scheduled(const char *path, double t) {
    FILE *file = fopen(path, "r");
    double joules = 0, at = 0, watts = 0, next, next_watts;
    if (!file) return 0;
    while (fscanf(file, "%lf %lf", &next, &next_watts) == 2) {
        if (next >= t) break;
        joules += watts * (next - at);
        at = next, watts = next_watts;
    }
    fclose(file);
    return joules + watts * (t - at);
}

static double energy(int board, double t) {
    const char *law = text(board, "law", "constant");
    double watts = number(board, "watts", 200), idle = number(board, "idle", 0);
    if (!strcmp(law, "schedule")) return scheduled(text(board, "schedule", ""), t);
    if (!strcmp(law, "square")) {
        double period = number(board, "period", 0.1), duty = number(board, "duty", 0.5);
        double turns = t / period + number(board, "phase", 0), whole = floor(turns);
        return idle * t + (watts - idle) * period * (whole * duty + fmin(turns - whole, duty));
    }
    if (!strcmp(law, "step")) {
        double from = number(board, "t0", 0), to = number(board, "t1", INFINITY);
        return idle * t + (watts - idle) * fmax(0, fmin(t, to) - from);
    }
    return watts * t;
}

static double tick(double t, double period) { return period > 0 ? floor(t / period) * period : t; }

static double mean_w(int board, double seconds) {
    double t = tick(now(), number(board, "power_period", 0.1));
    return (energy(board, t) - energy(board, t - seconds)) / seconds;
}

static int enter(const char *function, int board) {
    char name[WIDTH];
    read_options();
    const char *log = find("log"), *error;
    if (log) {
        FILE *file = fopen(log, "a");
        if (file) fprintf(file, "%s\n", function), fclose(file);
    }
    if (!users) return UNINITIALIZED;
    if (board >= 0 && now() >= number(board, "lost_at", INFINITY)) return LOST;
    snprintf(name, sizeof name, "err.%s", function);
    if ((error = text(board < 0 ? 0 : board, name, NULL))) {
        const char *at = strchr(error, '@');
        if (!at || now() >= atof(at + 1)) return atoi(error);
    }
    return OK;
}

#define BOARD(handle) (*(int *)(handle))
#define ASK(handle) int code = enter(__func__, (handle) ? BOARD(handle) : -1); if (code) return code
#define SAY(code, sentence) case code: return sentence

API int nvmlInitWithFlags(u32 flags) { (void)flags; users++; ASK((void *)0); return OK; }
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { ASK((void *)0); users--; return OK; }

API const char *nvmlErrorString(int code) {
    switch (code) { SAY(OK, "Success"); SAY(NOT_SUPPORTED, "Not Supported"); SAY(LOST, "GPU is lost"); }
    return "an error of the stub";
}

API int nvmlDeviceGetCount_v2(u32 *count) { ASK((void *)0); *count = (u32)number(0, "boards", 1); return OK; }

API int nvmlDeviceGetHandleByIndex_v2(u32 index, void **handle) {
    ASK((void *)0);
    if (index >= (u32)number(0, "boards", 1)) return INVALID_ARGUMENT;
    *handle = &boards[index];
    return OK;
}

static void uuid_of(int board, char *out, u32 size) {
    char otherwise[64];
    snprintf(otherwise, sizeof otherwise, "GPU-00000000-0000-0000-0000-00000000000%d", board);
    snprintf(out, size, "%s", text(board, "uuid", otherwise));
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    char own[WIDTH];
    ASK((void *)0);
    for (u32 i = 0; i < (u32)number(0, "boards", 1); i++) {
        uuid_of(i, own, sizeof own);
        if (!strcmp(uuid, own)) { *handle = &boards[i]; return OK; }
    }
    return NOT_FOUND;
}

API int nvmlDeviceGetUUID(void *h, char *out, u32 size) { ASK(h); uuid_of(BOARD(h), out, size); return OK; }
API int nvmlDeviceGetIndex(void *h, u32 *out) { ASK(h); *out = BOARD(h); return OK; }
API int nvmlDeviceGetName(void *h, char *out, u32 size) {
    ASK(h);
    snprintf(out, size, "%s", text(BOARD(h), "name", "Stub"));
    return OK;
}
API int nvmlDeviceGetVbiosVersion(void *h, char *out, u32 size) { ASK(h); snprintf(out, size, "0.0"); return OK; }
API int nvmlSystemGetDriverVersion(char *out, u32 size) { ASK((void *)0); snprintf(out, size, "0.0-stub"); return OK; }
API int nvmlSystemGetCudaDriverVersion_v2(int *out) { ASK((void *)0); *out = 13000; return OK; }

/* ---------------------------------------------------------------- energy and power */

API int nvmlDeviceGetTotalEnergyConsumption(void *h, u64 *out) {
    ASK(h);
    int board = BOARD(h);
    double reset = number(board, "reset_at", INFINITY), wrap = number(board, "wrap_mj", 0);
    double t = tick(fmin(now(), number(board, "stuck_at", INFINITY)), number(board, "counter_period", 0.1));
    double joules = energy(board, t) - (t >= reset ? energy(board, reset) : 0);
    double mj = joules * 1000 + (t >= reset ? 0 : number(board, "offset_mj", 0));
    *out = (u64)(wrap > 0 ? fmod(mj, wrap) : mj);
    return OK;
}

API int nvmlDeviceGetPowerUsage(void *h, u32 *out) { ASK(h); *out = (u32)lround(1000 * mean_w(BOARD(h), 1)); return OK; }

typedef struct { u32 id, scope; long long at, latency; u32 type, code; union { double d; u32 u; u64 ull; } value; } Field;

API int nvmlDeviceGetFieldValues(void *h, int count, Field *fields) {
    ASK(h);
    for (int i = 0; i < count; i++) {
        Field *field = &fields[i];
        field->at = (long long)(now() * 1e6), field->latency = 0, field->type = 1, field->code = OK;
        if (field->id == 185) field->value.u = (u32)lround(1000 * mean_w(BOARD(h), 1));
        else if (field->id == 186)
            field->value.u = (u32)lround(1000 * mean_w(BOARD(h), number(BOARD(h), "power_window", 0.025)));
        else if (field->id == 83) field->type = 3, field->code = nvmlDeviceGetTotalEnergyConsumption(h, &field->value.ull);
        else field->code = NOT_SUPPORTED;
        if (number(BOARD(h), "no_average", 0) && field->id == 185) field->code = NOT_SUPPORTED;
    }
    return OK;
}

API int nvmlDeviceGetEnforcedPowerLimit(void *h, u32 *out) { ASK(h); *out = number(BOARD(h), "limit_mw", 400000); return OK; }
API int nvmlDeviceGetPowerManagementLimit(void *h, u32 *out) { ASK(h); *out = number(BOARD(h), "limit_mw", 400000); return OK; }
API int nvmlDeviceGetPowerManagementDefaultLimit(void *h, u32 *out) { ASK(h); *out = 400000; return OK; }
API int nvmlDeviceGetPowerManagementLimitConstraints(void *h, u32 *low, u32 *high) {
    ASK(h); *low = 100000, *high = 400000; return OK;
}

/* ---------------------------------------------------------------- state */

static int degrees(int board) { return (int)(number(board, "temp", 50) + number(board, "temp_per_s", 0) * now()); }
typedef struct { u32 version, sensor; int value; } Temperature;
API int nvmlDeviceGetTemperature(void *h, u32 sensor, u32 *out) { (void)sensor; ASK(h); *out = degrees(BOARD(h)); return OK; }
API int nvmlDeviceGetTemperatureV(void *h, Temperature *out) { ASK(h); out->value = degrees(BOARD(h)); return OK; }
API int nvmlDeviceGetClockInfo(void *h, u32 type, u32 *out) { (void)type; ASK(h); *out = number(BOARD(h), "sm_mhz", 1410); return OK; }
API int nvmlDeviceGetMaxClockInfo(void *h, u32 type, u32 *out) { (void)type; ASK(h); *out = 1410; return OK; }
API int nvmlDeviceGetApplicationsClock(void *h, u32 type, u32 *out) { (void)type; ASK(h); *out = 1410; return OK; }
API int nvmlDeviceGetCurrentClocksEventReasons(void *h, u64 *out) { ASK(h); *out = (u64)number(BOARD(h), "reasons", 0); return OK; }
API int nvmlDeviceGetMigMode(void *h, u32 *current, u32 *pending) {
    ASK(h); *current = *pending = number(BOARD(h), "mig", 0); return OK;
}
API int nvmlDeviceGetEccMode(void *h, u32 *current, u32 *pending) { ASK(h); *current = *pending = 1; return OK; }
API int nvmlDeviceGetCurrPcieLinkGeneration(void *h, u32 *out) { ASK(h); *out = 4; return OK; }
API int nvmlDeviceGetCurrPcieLinkWidth(void *h, u32 *out) { ASK(h); *out = 16; return OK; }
API int nvmlDeviceGetArchitecture(void *h, u32 *out) { ASK(h); *out = number(BOARD(h), "arch", 7); return OK; }
API int nvmlDeviceGetPersistenceMode(void *h, u32 *out) { ASK(h); *out = 1; return OK; }
API int nvmlDeviceGetComputeMode(void *h, u32 *out) { ASK(h); *out = 0; return OK; }
API int nvmlDeviceGetMemoryInfo(void *h, u64 out[3]) { ASK(h); out[0] = 80ull << 30, out[2] = 1ull << 30, out[1] = out[0] - out[2]; return OK; }
API int nvmlDeviceGetUtilizationRates(void *h, u32 out[2]) { ASK(h); out[0] = 100, out[1] = 50; return OK; }
API int nvmlDeviceGetC2cModeInfoV(void *h, void *out) { (void)out; ASK(h); return NOT_SUPPORTED; }

typedef struct { u32 pid; u64 memory; u32 gpu, compute; } Process;
API int nvmlDeviceGetComputeRunningProcesses_v3(void *h, u32 *count, Process *out) {
    ASK(h);
    char named[WIDTH];
    u32 room = *count, found = 0;
    snprintf(named, sizeof named, "%s", text(BOARD(h), "procs", ""));
    for (char *rest = NULL, *one = strtok_r(named, ",", &rest); one; one = strtok_r(NULL, ",", &rest), found++)
        if (found < room)
            out[found] = (Process){strcmp(one, "self") ? (u32)atoi(one) : (u32)getpid(), 1ull << 30, -1u, -1u};
    *count = found;
    return found > room ? TOO_SMALL : OK;
}
API int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, u32 *count, Process *out) { (void)out; ASK(h); *count = 0; return OK; }

/* ---------------------------------------------------------------- nobody may set anything */

API int nvmlDeviceSetPowerManagementLimit(void *h, u32 limit) { (void)limit; ASK(h); return NO_PERMISSION; }
API int nvmlDeviceSetPersistenceMode(void *h, u32 mode) { (void)mode; ASK(h); return NO_PERMISSION; }
API int nvmlDeviceSetGpuLockedClocks(void *h, u32 low, u32 high) { (void)low; (void)high; ASK(h); return NO_PERMISSION; }
API int nvmlDeviceSetMemoryLockedClocks(void *h, u32 low, u32 high) { (void)low; (void)high; ASK(h); return NO_PERMISSION; }
API int nvmlDeviceResetGpuLockedClocks(void *h) { ASK(h); return NO_PERMISSION; }
API int nvmlDeviceResetMemoryLockedClocks(void *h) { ASK(h); return NO_PERMISSION; }
