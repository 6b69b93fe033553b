#include "coordinator/cluster/hello.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/version.h"
#include "proto/log.h"

/* ---- the build ------------------------------------------------------------------------------- */

/* The note the linker leaves in every executable. The first object is the program itself. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *context)
{
    char *out = context;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(info->dlpi_addr + header->p_vaddr);
        const char *end = at + header->p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            const char *name = at + sizeof note;
            const unsigned char *id = (const unsigned char *)name + ((note.n_namesz + 3u) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0)
                for (unsigned k = 0; k < note.n_descsz && k < 20; k++)
                    (void)snprintf(out + 2 * k, 3, "%02x", id[k]);
            at = (const char *)id + ((note.n_descsz + 3u) & ~3u);
        }
    }
    return 1;
}

void shoal_build_name(char out[SHOAL_BUILD_MAX])
{
    char id[64] = "";
    (void)dl_iterate_phdr(find_build_id, id);
    (void)snprintf(out, SHOAL_BUILD_MAX, "%s+%s", SHOAL_VERSION, id[0] ? id : "unknown");
}

/* ---- the roster ------------------------------------------------------------------------------ */

void shoal_roster_name(const shoal_roster *roster, int rank, char *out, size_t room)
{
    const shoal_member *m = &roster->members[rank];
    if (m->joined)
        (void)snprintf(out, room, "rank %d (process %ld on %s)", rank, (long)m->pid, m->host);
    else
        (void)snprintf(out, room, "rank %d", rank);
}

static shoal_status differs(const shoal_roster *roster, int rank, int other, const char *what,
                            const char *mine, const char *theirs)
{
    char a[128], b[128];
    shoal_roster_name(roster, rank, a, sizeof a);
    shoal_roster_name(roster, other, b, sizeof b);
    return shoal_fail(SHOAL_ERR_CONFIG, "%s differs from %s in its %s: %s against %s", a, b, what,
                      mine, theirs);
}

static void hex(const uint8_t *bytes, uint64_t count, char *out, size_t room)
{
    out[0] = '\0';
    for (uint64_t i = 0; i < count && 2 * i + 3 <= room; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static shoal_status compare_bytes(const shoal_roster *roster, int rank, int other, const char *what,
                                  const uint8_t *mine, uint64_t mine_bytes, const uint8_t *theirs,
                                  uint64_t theirs_bytes)
{
    char a[72], b[72];
    if (mine_bytes == theirs_bytes && memcmp(mine, theirs, mine_bytes) == 0)
        return SHOAL_OK;
    hex(mine, mine_bytes, a, sizeof a);
    hex(theirs, theirs_bytes, b, sizeof b);
    return differs(roster, rank, other, what, a, b);
}

static shoal_status check_place(const shoal_roster *roster, const shoal_wire_hello *h)
{
    char other[128];
    if (h->protocol != SHOAL_WIRE_PROTOCOL)
        return shoal_fail(SHOAL_ERR_CONFIG, "a worker on %s speaks protocol %u, this is %u",
                          h->host, h->protocol, SHOAL_WIRE_PROTOCOL);
    if (h->size != roster->ranks || h->rank < 0 || h->rank >= roster->ranks)
        return shoal_fail(SHOAL_ERR_CONFIG,
                          "a worker on %s says it is rank %d of %d; %d ranks are "
                          "expected",
                          h->host, h->rank, h->size, roster->ranks);
    if (!roster->members[h->rank].joined)
        return SHOAL_OK;
    shoal_roster_name(roster, h->rank, other, sizeof other);
    return shoal_fail(SHOAL_ERR_CONFIG, "a process %lld on %s also says it is %s",
                      (long long)h->pid, h->host, other);
}

/* The lowest other rank that is there; `ranks` when there is none. */
static int first_other(const shoal_roster *roster, int rank, bool ready)
{
    int other = 0;
    for (; other < roster->ranks; other++) {
        const shoal_member *m = &roster->members[other];
        if (other != rank && (ready ? m->ready : m->joined))
            break;
    }
    return other;
}

static shoal_status check_like(const shoal_roster *roster, int rank)
{
    const int other = first_other(roster, rank, false);
    if (other == roster->ranks)
        return SHOAL_OK;
    const shoal_member *m = &roster->members[rank], *first = &roster->members[other];
    if (strcmp(m->build, first->build) != 0)
        return differs(roster, rank, other, "build", m->build, first->build);
    SHOAL_TRY(
        compare_bytes(roster, rank, other, "byte order", m->byte_order, 4, first->byte_order, 4));
    if (strcmp(m->level, first->level) != 0)
        shoal_log(SHOAL_LOG_WARN, "hello",
                  "rank %d has kernel level %s, rank %d %s: the slower "
                  "one sets the pace",
                  rank, m->level, other, first->level);
    return SHOAL_OK;
}

shoal_status shoal_roster_hello(shoal_roster *roster, const shoal_wire_hello *h)
{
    SHOAL_TRY(check_place(roster, h));
    shoal_member *m = &roster->members[h->rank];
    *m = (shoal_member){.joined = true, .pid = (pid_t)h->pid};
    (void)snprintf(m->host, sizeof m->host, "%s", h->host);
    (void)snprintf(m->build, sizeof m->build, "%s", h->build);
    (void)snprintf(m->level, sizeof m->level, "%s", h->kernel_level);
    memcpy(m->byte_order, h->byte_order.data, sizeof m->byte_order);
    roster->joined++;
    return check_like(roster, h->rank);
}

static uint64_t copy_hash(uint8_t out[32], const shoal_wire_bytes *from)
{
    const uint64_t bytes = from->bytes < 32 ? from->bytes : 32;
    if (bytes)
        memcpy(out, from->data, bytes);
    return bytes;
}

shoal_status shoal_roster_ready(shoal_roster *roster, int rank, const shoal_wire_ready *ready)
{
    shoal_member *m = &roster->members[rank];
    const int other = first_other(roster, rank, true);
    (void)snprintf(m->arithmetic, sizeof m->arithmetic, "%s", ready->arithmetic);
    m->plan_bytes = copy_hash(m->plan_hash, &ready->plan_hash);
    m->manifest_bytes = copy_hash(m->manifest_hash, &ready->manifest_hash);
    if (!m->ready)
        roster->ready++;
    m->ready = true;
    if (other == roster->ranks)
        return SHOAL_OK;
    const shoal_member *first = &roster->members[other];
    if (strcmp(m->arithmetic, first->arithmetic) != 0)
        return differs(roster, rank, other, "arithmetic", m->arithmetic, first->arithmetic);
    SHOAL_TRY(compare_bytes(roster, rank, other, "plan", m->plan_hash, m->plan_bytes,
                            first->plan_hash, first->plan_bytes));
    return compare_bytes(roster, rank, other, "model", m->manifest_hash, m->manifest_bytes,
                         first->manifest_hash, first->manifest_bytes);
}
