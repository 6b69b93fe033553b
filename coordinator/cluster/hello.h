/* coordinator/cluster/hello.h - who joins a cluster, and whether they may compute together.
 *
 * Every rank's first message says what it is: protocol, build, byte order, place. Ranks that
 * differ in any of these cannot promise the same bits and are refused (SHOAL_ERR_CONFIG) with a
 * sentence naming who differs in what. Kernel levels may differ between hosts: all levels give the
 * same bits; a difference is only logged, because the slowest rank sets the pace. Plan, model and
 * arithmetic are compared after Load (shoal_roster_ready). Pure but for the log. */
#ifndef SHOAL_COORDINATOR_CLUSTER_HELLO_H
#define SHOAL_COORDINATOR_CLUSTER_HELLO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/wire.h"
#include "shard/plan.h"

#define SHOAL_BUILD_MAX 96

/* "0.1.0+<build id of the executable>": equal only for the same binary. */
void shoal_build_name(char out[SHOAL_BUILD_MAX]);

/* What is remembered of a rank. */
typedef struct {
    bool joined, ready;
    pid_t pid;
    char host[64], build[SHOAL_BUILD_MAX], level[16], arithmetic[64];
    uint8_t byte_order[4];
    uint8_t plan_hash[32], manifest_hash[32];
    uint64_t plan_bytes, manifest_bytes;
} shoal_member;

typedef struct {
    int ranks, joined, ready;
    shoal_member members[SHOAL_RANKS_MAX];
} shoal_roster;

/* Take a Hello: SHOAL_ERR_CONFIG when it does not belong (size, protocol, a rank that is there
 * already) or differs from the lowest rank that joined before. */
SHOAL_MUST_USE shoal_status shoal_roster_hello(shoal_roster *roster, const shoal_wire_hello *hello);

/* Take a Ready: its plan, model and arithmetic must be those of the others. */
SHOAL_MUST_USE shoal_status shoal_roster_ready(shoal_roster *roster, int rank,
                                               const shoal_wire_ready *ready);

/* "rank 2 (process 123 on node7)" into `out`. */
void shoal_roster_name(const shoal_roster *roster, int rank, char *out, size_t room);

#endif
