#include "coordinator/cli/machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "coordinator/engine.h"
#include "kernels/cpu.h"

#define LINE_MAX_BYTES 4096

/* Call `take` for every line of a file of /proc until it has enough. */
static void read_lines(const char *path, bool (*take)(shoal_machine *, const char *line),
                       shoal_machine *out)
{
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (take(out, line))
            break;
    if (file)
        (void)fclose(file);
}

static bool take_cpu(shoal_machine *out, const char *line)
{
    return sscanf(line, "model name : %127[^\n]", out->cpu) == 1;
}

static bool take_memory(shoal_machine *out, const char *line)
{
    unsigned long long kib;
    if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
        out->memory_bytes = kib << 10;
    if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
        out->memory_available = kib << 10;
    return out->memory_bytes && out->memory_available;
}

void shoal_machine_read(shoal_machine *out)
{
    *out = (shoal_machine){.cores = shoal_default_threads(1),
                           .cores_online = sysconf(_SC_NPROCESSORS_ONLN)};
    read_lines("/proc/cpuinfo", take_cpu, out);
    read_lines("/proc/meminfo", take_memory, out);
}

json_t *shoal_json_machine(const shoal_machine *machine)
{
    return json_pack("{s:s, s:i, s:i, s:I, s:s}", "cpu", machine->cpu, "cores", machine->cores,
                     "cores_online", (int)machine->cores_online, "memory_bytes",
                     (json_int_t)machine->memory_bytes, "level", shoal_cpu_name(shoal_cpu_best()));
}
