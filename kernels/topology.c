#include "kernels/topology.h"

#include <hwloc.h>

#include "kernels/threads.h"
#include "proto/arena.h"

/* Devices are not asked for; looking for displays would take seconds on some machines. */
static shoal_status load(hwloc_topology_t *out)
{
    if (hwloc_topology_init(out) != 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "hwloc does not start");
    (void)hwloc_topology_set_components(*out, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "gl");
    if (hwloc_topology_load(*out) == 0)
        return SHOAL_OK;
    hwloc_topology_destroy(*out);
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "hwloc does not understand this machine");
}

/* Processors that exist and that the calling thread may use. */
static hwloc_bitmap_t allowed(hwloc_topology_t t)
{
    hwloc_bitmap_t set = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(t));
    hwloc_bitmap_t mask = hwloc_bitmap_alloc();
    if (set && mask && hwloc_get_cpubind(t, mask, HWLOC_CPUBIND_THREAD) == 0 &&
        hwloc_bitmap_intersects(set, mask))
        (void)hwloc_bitmap_and(set, set, mask);
    hwloc_bitmap_free(mask);
    return set;
}

/* Objects of a type that have an allowed processor. */
static int count(hwloc_topology_t t, hwloc_obj_type_t type, hwloc_const_bitmap_t set)
{
    int n = 0;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(t, type, o)) != NULL;)
        n += hwloc_bitmap_intersects(o->cpuset, set);
    return n;
}

/* Which of the NUMA nodes with allowed processors holds this one. */
static int node_of(hwloc_topology_t t, hwloc_const_bitmap_t set, int processor)
{
    int n = 0;
    for (hwloc_obj_t o = NULL;
         (o = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, o)) != NULL;) {
        if (hwloc_bitmap_isset(o->cpuset, (unsigned)processor))
            return n;
        n += hwloc_bitmap_intersects(o->cpuset, set);
    }
    return 0;
}

static void take_core(hwloc_topology_t t, hwloc_const_bitmap_t set, hwloc_const_bitmap_t core,
                      shoal_topology *out)
{
    hwloc_bitmap_t usable = hwloc_bitmap_dup(core);
    if (usable && hwloc_bitmap_and(usable, usable, set) == 0 && !hwloc_bitmap_iszero(usable)) {
        const int first = hwloc_bitmap_first(usable);
        out->cores[out->core_count++] = (shoal_core){first, node_of(t, set, first)};
    }
    hwloc_bitmap_free(usable);
}

/* Where hwloc cannot tell cores apart every processor counts as one. */
static shoal_status list_cores(hwloc_topology_t t, hwloc_const_bitmap_t set, shoal_topology *out)
{
    void *block;
    const bool cores = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_CORE) > 0;
    const hwloc_obj_type_t type = cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    const int most = hwloc_get_nbobjs_by_type(t, type);
    if (most <= 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "hwloc finds no processor");
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)most, sizeof(shoal_core), &block));
    out->cores = block;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(t, type, o)) != NULL;)
        take_core(t, set, o->cpuset, out);
    return SHOAL_OK;
}

static int at_least_one(int n)
{
    return n > 1 ? n : 1;
}

shoal_status shoal_topology_read(shoal_topology *out)
{
    hwloc_topology_t t;
    SHOAL_TRY(load(&t));
    hwloc_bitmap_t set = allowed(t);
    shoal_topology found = {0};
    shoal_status st = set ? list_cores(t, set, &found)
                          : shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a set of processors");
    if (st == SHOAL_OK) {
        found.packages = at_least_one(count(t, HWLOC_OBJ_PACKAGE, set));
        found.nodes = at_least_one(count(t, HWLOC_OBJ_NUMANODE, set));
        found.caches = at_least_one(count(t, HWLOC_OBJ_L3CACHE, set));
        found.processors = at_least_one(hwloc_bitmap_weight(set));
        *out = found;
    }
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(t);
    return st;
}

void shoal_topology_free(shoal_topology *topology)
{
    shoal_free(topology->cores);
    *topology = (shoal_topology){0};
}

int shoal_topology_ranks(const shoal_topology *topology)
{
    return at_least_one(topology->nodes);
}

int shoal_topology_threads(const shoal_topology *topology, int ranks)
{
    return at_least_one(topology->core_count / at_least_one(ranks));
}

bool shoal_topology_place(const shoal_topology *topology, int share, int shares, int threads,
                          int *processors)
{
    int64_t begin, end;
    if (share < 0 || share >= shares)
        return false;
    shoal_share(topology->core_count, share, shares, &begin, &end);
    if (end - begin != threads)
        return false;
    for (int t = 0; t < threads; t++)
        processors[t] = topology->cores[begin + t].processor;
    return true;
}

/* The cores [begin, end) and the nodes they are on. */
static bool settle_on(hwloc_topology_t t, const shoal_topology *topology, int64_t begin,
                      int64_t end)
{
    hwloc_bitmap_t cores = hwloc_bitmap_alloc();
    bool done = cores != NULL;
    const int first = topology->cores[begin].node, last = topology->cores[end - 1].node;
    for (int64_t i = begin; done && i < end; i++)
        done = hwloc_bitmap_set(cores, (unsigned)topology->cores[i].processor) == 0;
    done = done && hwloc_set_cpubind(t, cores, HWLOC_CPUBIND_THREAD) == 0;
    if (done && first != last) /* else first touch takes the node's own */
        (void)hwloc_set_membind(t, cores, HWLOC_MEMBIND_INTERLEAVE, HWLOC_MEMBIND_THREAD);
    hwloc_bitmap_free(cores);
    return done;
}

bool shoal_topology_settle(const shoal_topology *topology, int share, int shares)
{
    int64_t begin, end;
    hwloc_topology_t t;
    if (topology->nodes < 2 || share < 0 || share >= shares)
        return false;
    shoal_share(topology->core_count, share, shares, &begin, &end);
    if (begin == end || load(&t) != SHOAL_OK)
        return false;
    const bool done = settle_on(t, topology, begin, end);
    hwloc_topology_destroy(t);
    return done;
}
