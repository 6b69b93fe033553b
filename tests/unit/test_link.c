/* Links over real sockets: messages arrive whole however the bytes are cut, a gone or silent peer
 * is noticed in time, and nobody gets in without the token. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "worker/comm_exchange.h"
#include "worker/link.h"

static const char token[] = "one-time token";
static const uint8_t word[4] = {4, 3, 2, 1};

static shoal_wire_hello my_hello(void)
{
    return (shoal_wire_hello){.rank = 1,
                              .size = 2,
                              .pid = 77,
                              .host = "here",
                              .build = "test",
                              .byte_order = {word, sizeof word}};
}

/* A pair of links over a socket pair. */
static void make_pair(shoal_link **a, shoal_link **b)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(shoal_link_adopt(fds[0], "side a", a), SHOAL_OK);
    assert_int_equal(shoal_link_adopt(fds[1], "side b", b), SHOAL_OK);
}

/* A link and the bare socket at its other end. */
static int make_half(shoal_link **a)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(shoal_link_adopt(fds[0], "the peer", a), SHOAL_OK);
    return fds[1];
}

typedef struct {
    shoal_link *link;
    const char *token;
    shoal_status st;
} introduction;

static void *introduce(void *context)
{
    introduction *i = context;
    const shoal_wire_hello hello = my_hello();
    i->st = shoal_link_introduce(i->link, i->token, strlen(i->token), &hello, 2000);
    return NULL;
}

static void trusted_pair(shoal_link **a, shoal_link **b, uint32_t generation)
{
    shoal_wire_message hello;
    pthread_t thread;
    make_pair(a, b);
    introduction i = {*b, token, SHOAL_ERR_INTERNAL};
    assert_int_equal(pthread_create(&thread, NULL, introduce, &i), 0);
    assert_int_equal(shoal_link_challenge(*a, token, strlen(token), generation, &hello), SHOAL_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(i.st, SHOAL_OK);
    assert_int_equal(hello.hello.pid, 77);
    assert_string_equal(hello.hello.host, "here");
    assert_int_equal(shoal_link_generation(*b), generation);
    shoal_wire_free(&hello);
}

static void send_heartbeat(shoal_link *link, uint64_t counter)
{
    shoal_wire_message m = {.type = SHOAL_WIRE_HEARTBEAT};
    m.heartbeat.counter = counter;
    assert_int_equal(shoal_link_send(link, &m, 1000), SHOAL_OK);
}

/* --- addresses ------------------------------------------------------------------------------- */

static void bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "host",          ":80",      "host:", "host:x",    "::1:80",
        "[::1:80", "unix:relative", "host:1 2", "[]:80", "host:65536"};
    char long_path[400] = "unix:/";
    shoal_listener *l;
    shoal_link *k;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(shoal_link_listen(bad[i], &l), SHOAL_ERR_USAGE);
        assert_int_equal(shoal_link_connect(bad[i], 100, &k), SHOAL_ERR_USAGE);
    }
    memset(long_path + 6, 'x', 300);
    assert_int_equal(shoal_link_connect(long_path, 100, &k), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_link_connect("unix:/nowhere/at/all", 100, &k), SHOAL_ERR_UNAVAILABLE);
    assert_int_equal(shoal_link_connect("127.0.0.1:1", 500, &k), SHOAL_ERR_UNAVAILABLE);
    assert_int_equal(shoal_link_listen("unix:/root-level-socket", &l), SHOAL_ERR_CONFIG);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

/* Connect, accept, one message each way. */
static void talk_once(shoal_listener *l)
{
    shoal_link *there, *here;
    shoal_wire_message m;
    assert_int_equal(shoal_link_accept(l, 0, &here), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_link_connect(shoal_listener_address(l), 1000, &there), SHOAL_OK);
    assert_int_equal(shoal_link_accept(l, 1000, &here), SHOAL_OK);
    send_heartbeat(there, 5);
    assert_int_equal(shoal_link_receive(here, 1000, &m), SHOAL_OK);
    assert_int_equal(m.heartbeat.counter, 5);
    shoal_wire_free(&m);
    send_heartbeat(here, 6);
    assert_int_equal(shoal_link_receive(there, 1000, &m), SHOAL_OK);
    assert_int_equal(m.heartbeat.counter, 6);
    shoal_wire_free(&m);
    shoal_link_close(there);
    assert_int_equal(shoal_link_receive(here, 1000, &m), SHOAL_ERR_UNAVAILABLE);
    shoal_link_close(here);
}

static void private_unix_socket(void **state)
{
    (void)state;
    shoal_listener *l;
    struct stat info;
    char folder[300];
    assert_int_equal(shoal_link_listen("unix:", &l), SHOAL_OK);
    (void)snprintf(folder, sizeof folder, "%s", shoal_listener_address(l) + strlen("unix:"));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    talk_once(l);
    shoal_listener_close(l);
    assert_int_equal(stat(folder, &info), -1);
    assert_int_equal(errno, ENOENT);

    char address[400];
    (void)snprintf(address, sizeof address, "unix:%s/s", folder); /* made, then removed */
    assert_int_equal(shoal_link_listen(address, &l), SHOAL_OK);
    talk_once(l);
    shoal_listener_close(l);
    assert_int_equal(stat(folder, &info), -1);
    assert_int_equal(mkdir(folder, 0755), 0); /* not private: refused and left alone */
    assert_int_equal(shoal_link_listen(address, &l), SHOAL_ERR_CONFIG);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

static void tcp_socket(void **state)
{
    (void)state;
    shoal_listener *l;
    assert_int_equal(shoal_link_listen("127.0.0.1:0", &l), SHOAL_OK);
    assert_string_not_equal(shoal_listener_address(l), "127.0.0.1:0");
    talk_once(l);
    shoal_listener *second;
    assert_int_equal(shoal_link_listen(shoal_listener_address(l), &second), SHOAL_ERR_CREATE);
    shoal_listener_close(l);
    if (shoal_link_listen("[::1]:0", &l) == SHOAL_OK) { /* where there is IPv6 */
        talk_once(l);
        shoal_listener_close(l);
    }
}

/* --- frames ---------------------------------------------------------------------------------- */

static shoal_wire_buffer some_frame(uint32_t generation)
{
    shoal_wire_buffer b = {0};
    shoal_wire_message m = {.type = SHOAL_WIRE_ERROR};
    m.error = (shoal_wire_error){SHOAL_ERR_IO, "a sentence of some length", 3};
    assert_int_equal(shoal_wire_encode(&m, generation, &b), SHOAL_OK);
    return b;
}

static void bytes_one_by_one(void **state)
{
    (void)state;
    shoal_link *link;
    const int fd = make_half(&link);
    shoal_wire_buffer b = some_frame(1);
    shoal_wire_message m;
    for (int twice = 0; twice < 2; twice++)
        for (uint64_t i = 0; i < b.bytes; i++) {
            assert_int_equal(shoal_link_receive(link, 0, &m), SHOAL_ERR_TEMPORARY);
            assert_int_equal(write(fd, b.data + i, 1), 1);
            if (i + 1 == b.bytes) {
                assert_int_equal(shoal_link_receive(link, 0, &m), SHOAL_OK);
                assert_string_equal(m.error.sentence, "a sentence of some length");
                shoal_wire_free(&m);
            }
        }
    assert_int_equal(write(fd, b.data, 20), 20); /* then the peer dies within a frame */
    (void)close(fd);
    assert_int_equal(shoal_link_receive(link, 1000, &m), SHOAL_ERR_UNAVAILABLE);
    shoal_link_close(link);
    shoal_wire_buffer_free(&b);
}

static void deadline_is_kept(void **state)
{
    (void)state;
    shoal_link *link;
    const int fd = make_half(&link);
    shoal_wire_message m;
    const double begin = shoal_seconds_now();
    assert_int_equal(shoal_link_receive(link, 150, &m), SHOAL_ERR_TEMPORARY);
    const double waited = shoal_seconds_now() - begin;
    assert_true(waited >= 0.149 && waited < 0.6);
    (void)close(fd);
    shoal_link_close(link);
}

static void refused_frames(void **state)
{
    (void)state;
    static const struct {
        int at;
        uint32_t value;
    } wrong[] = {{0, 1}, {8, 200}, {12, UINT32_MAX}, {12, SHOAL_WIRE_HELLO_MAX + 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        shoal_link *link;
        const int fd = make_half(&link);
        shoal_wire_buffer b = some_frame(1);
        shoal_wire_message m;
        shoal_store_le32(b.data + wrong[i].at, wrong[i].value);
        assert_int_equal(write(fd, b.data, b.bytes), (ssize_t)b.bytes);
        assert_int_equal(shoal_link_receive(link, 1000, &m), SHOAL_ERR_DATA);
        (void)close(fd);
        shoal_link_close(link);
        shoal_wire_buffer_free(&b);
    }
}

typedef struct {
    shoal_link *link;
    uint64_t first, count;
    bool large;
} sender;

#define LARGE (20u << 20)

static void *send_many(void *context)
{
    const sender *s = context;
    static uint8_t block[LARGE];
    for (uint64_t i = 0; i < s->count; i++) {
        shoal_wire_message m = {.type = SHOAL_WIRE_HEARTBEAT};
        m.heartbeat.counter = s->first + i;
        if (s->large) {
            m = (shoal_wire_message){.type = SHOAL_WIRE_STEP};
            block[0] = block[LARGE - 1] = (uint8_t)i;
            m.step.block = (shoal_wire_bytes){block, LARGE};
        }
        if (shoal_link_send(s->link, &m, 10000) != SHOAL_OK)
            return (void *)1;
    }
    return NULL;
}

/* Heartbeats of one thread between the large messages of another: nothing is torn. */
static void two_senders(void **state)
{
    (void)state;
    shoal_link *a, *b;
    trusted_pair(&a, &b, 9);
    sender jobs[2] = {{b, 1000, 500, false}, {b, 0, 5, true}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &jobs[i]), 0);
    uint64_t beats = 0, steps = 0;
    while (beats < 500 || steps < 5) {
        shoal_wire_message m;
        assert_int_equal(shoal_link_receive(a, 10000, &m), SHOAL_OK);
        if (m.type == SHOAL_WIRE_STEP) {
            assert_int_equal(m.step.block.bytes, LARGE);
            assert_int_equal(m.step.block.data[LARGE - 1], steps++);
        } else {
            assert_int_equal(m.heartbeat.counter, 1000 + beats++);
        }
        shoal_wire_free(&m);
    }
    for (int i = 0; i < 2; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    shoal_link_close(a);
    shoal_link_close(b);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

static void peer_that_does_not_read(void **state)
{
    (void)state;
    shoal_link *link;
    const int fd = make_half(&link);
    uint8_t *block = calloc(1, LARGE);
    shoal_wire_message m = {.type = SHOAL_WIRE_STEP};
    m.step.block = (shoal_wire_bytes){block, LARGE};
    assert_int_equal(shoal_link_send(link, &m, 100), SHOAL_ERR_TEMPORARY);
    assert_int_equal(shoal_link_send(link, &m, 100), SHOAL_ERR_UNAVAILABLE);
    (void)close(fd);
    shoal_link_close(link);

    const int other = make_half(&link);
    (void)close(other); /* no SIGPIPE either */
    assert_int_equal(shoal_link_send(link, &m, 100), SHOAL_ERR_UNAVAILABLE);
    shoal_link_close(link);
    free(block);
}

/* --- handshake ------------------------------------------------------------------------------- */

static void generations(void **state)
{
    (void)state;
    shoal_link *a, *b;
    shoal_wire_message m;
    trusted_pair(&a, &b, 3);
    send_heartbeat(b, 1);
    assert_int_equal(shoal_link_receive(a, 1000, &m), SHOAL_OK);
    shoal_wire_free(&m);
    shoal_wire_buffer old = some_frame(2); /* late words of the generation before */
    assert_int_equal(write(shoal_link_fd(b), old.data, old.bytes), (ssize_t)old.bytes);
    assert_int_equal(shoal_link_receive(a, 1000, &m), SHOAL_ERR_DATA);
    shoal_wire_buffer_free(&old);
    shoal_link_close(a);
    shoal_link_close(b);
}

static void wrong_token(void **state)
{
    (void)state;
    shoal_link *a, *b;
    shoal_wire_message hello;
    pthread_t thread;
    make_pair(&a, &b);
    introduction i = {b, "another token", SHOAL_ERR_INTERNAL};
    assert_int_equal(pthread_create(&thread, NULL, introduce, &i), 0);
    assert_int_equal(shoal_link_challenge(a, token, strlen(token), 1, &hello),
                     SHOAL_ERR_UNAVAILABLE);
    assert_non_null(strstr(shoal_error_text(), "token"));
    shoal_link_close(a);
    assert_int_equal(pthread_join(thread, NULL), 0);
    shoal_link_close(b);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

/* What a stranger says instead of Hello; NULL: nothing at all. */
static shoal_status strangers_answer(const void *bytes, size_t count, double *seconds)
{
    shoal_link *a;
    shoal_wire_message hello;
    const int fd = make_half(&a);
    if (count)
        assert_int_equal(write(fd, bytes, count), (ssize_t)count);
    const double begin = shoal_seconds_now();
    const shoal_status st = shoal_link_challenge(a, token, strlen(token), 1, &hello);
    *seconds = shoal_seconds_now() - begin;
    (void)close(fd);
    shoal_link_close(a);
    return st;
}

static shoal_wire_buffer hello_frame(uint32_t generation, uint32_t protocol, const uint8_t *proof)
{
    shoal_wire_buffer b = {0};
    shoal_wire_message m = {.type = SHOAL_WIRE_HELLO};
    m.hello = my_hello();
    m.hello.protocol = protocol;
    m.hello.proof = (shoal_wire_bytes){proof, SHOAL_SHA256_BYTES};
    assert_int_equal(shoal_wire_encode(&m, generation, &b), SHOAL_OK);
    return b;
}

static void strangers(void **state)
{
    (void)state;
    double seconds;
    const uint8_t proof[SHOAL_SHA256_BYTES] = {1}; /* replayed from elsewhere */
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(strangers_answer(NULL, 0, &seconds), SHOAL_ERR_TEMPORARY);
    assert_true(seconds > 0.9 && seconds < 1.3);
    assert_int_equal(strangers_answer(http, sizeof http, &seconds), SHOAL_ERR_DATA);
    assert_true(seconds < 0.5);

    shoal_wire_buffer replay = hello_frame(1, SHOAL_WIRE_PROTOCOL, proof), other = some_frame(1);
    assert_int_equal(strangers_answer(replay.data, replay.bytes, &seconds), SHOAL_ERR_UNAVAILABLE);
    assert_int_equal(strangers_answer(other.data, other.bytes, &seconds), SHOAL_ERR_DATA);
    assert_int_equal(strangers_answer(replay.data, 17, &seconds), SHOAL_ERR_TEMPORARY);
    assert_true(seconds < 1.3);
    shoal_wire_buffer_free(&other);
    shoal_wire_buffer_free(&replay);
}

/* The right token but another protocol, on either side. */
static void *other_protocol(void *context)
{
    const int fd = *(const int *)context;
    uint8_t frame[256], proof[SHOAL_SHA256_BYTES];
    shoal_frame_header header;
    shoal_wire_message m;
    if (recv(fd, frame, SHOAL_FRAME_HEADER, MSG_WAITALL) != SHOAL_FRAME_HEADER ||
        shoal_frame_parse(frame, SHOAL_GENERATION_ANY, &header) != SHOAL_OK ||
        header.length > sizeof frame ||
        recv(fd, frame, header.length, MSG_WAITALL) != (ssize_t)header.length ||
        shoal_wire_decode(header.type, frame, header.length, &m) != SHOAL_OK)
        return (void *)1;
    const shoal_status st = shoal_hmac_sha256(token, strlen(token), m.challenge.nonce.data,
                                              m.challenge.nonce.bytes, proof);
    shoal_wire_free(&m);
    shoal_wire_buffer b = hello_frame(header.generation, SHOAL_WIRE_PROTOCOL + 1, proof);
    const bool sent = st == SHOAL_OK && write(fd, b.data, b.bytes) == (ssize_t)b.bytes;
    shoal_wire_buffer_free(&b);
    return sent ? NULL : (void *)1;
}

static void other_version(void **state)
{
    (void)state;
    shoal_link *a;
    shoal_wire_message hello;
    pthread_t thread;
    void *result;
    int fd = make_half(&a);
    assert_int_equal(pthread_create(&thread, NULL, other_protocol, &fd), 0);
    assert_int_equal(shoal_link_challenge(a, token, strlen(token), 1, &hello), SHOAL_ERR_CONFIG);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    shoal_link_close(a);
    (void)close(fd);

    fd = make_half(&a);
    uint8_t nonce[SHOAL_NONCE_BYTES] = {7};
    shoal_wire_buffer b = {0};
    shoal_wire_message m = {.type = SHOAL_WIRE_CHALLENGE};
    m.challenge = (shoal_wire_challenge){SHOAL_WIRE_PROTOCOL + 1, {nonce, sizeof nonce}};
    assert_int_equal(shoal_wire_encode(&m, 1, &b), SHOAL_OK);
    assert_int_equal(write(fd, b.data, b.bytes), (ssize_t)b.bytes);
    const shoal_wire_hello mine = my_hello();
    assert_int_equal(shoal_link_introduce(a, token, strlen(token), &mine, 1000), SHOAL_ERR_CONFIG);
    assert_int_equal(shoal_link_introduce(a, token, 0, &mine, 1000), SHOAL_ERR_USAGE);
    shoal_wire_buffer_free(&b);
    shoal_link_close(a);
    (void)close(fd);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_addresses),    cmocka_unit_test(private_unix_socket),
        cmocka_unit_test(tcp_socket),       cmocka_unit_test(bytes_one_by_one),
        cmocka_unit_test(deadline_is_kept), cmocka_unit_test(refused_frames),
        cmocka_unit_test(two_senders),      cmocka_unit_test(peer_that_does_not_read),
        cmocka_unit_test(generations),      cmocka_unit_test(wrong_token),
        cmocka_unit_test(strangers),        cmocka_unit_test(other_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
