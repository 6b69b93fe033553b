/* coordinator/cli/machine.h - the computer we run on, as doctor shows it and benches report it. */
#ifndef SHOAL_COORDINATOR_CLI_MACHINE_H
#define SHOAL_COORDINATOR_CLI_MACHINE_H

#include <jansson.h>
#include <stdint.h>

typedef struct {
    char cpu[128];                           /* "Intel(R) Xeon(R) Processor"; "" if unknown */
    int cores;                               /* this process may use */
    long cores_online;                       /* there are */
    uint64_t memory_bytes, memory_available; /* 0: unknown */
} shoal_machine;

/* What cannot be found out stays empty. */
void shoal_machine_read(shoal_machine *out);

/* {"cpu", "cores", "cores_online", "memory_bytes", "level"}; the level is the best kernel level. */
json_t *shoal_json_machine(const shoal_machine *machine);

#endif
