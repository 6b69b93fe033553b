#include "worker/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/digest.h"
#include "worker/link_socket.h"

/* A frame that big is rare; its memory is not kept for the next one. */
#define KEEP_BYTES (1u << 20)

/* A payload is read in such pieces, so that memory grows with what has really come. */
#define READ_PIECE (256u << 10)

struct shoal_link {
    int fd;
    uint32_t generation;
    uint32_t payload_max;
    char peer[128];
    /* Receiving: one thread. */
    uint8_t header[SHOAL_FRAME_HEADER];
    uint32_t header_bytes; /* of the frame being received, so far */
    shoal_frame_header frame;
    shoal_wire_buffer in; /* payload so far */
    /* Sending: any thread. */
    pthread_mutex_t sending;
    shoal_wire_buffer out;
    bool torn; /* a send stopped half-way: nothing may follow */
};

static shoal_status gone(const shoal_link *link, const char *why)
{
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s: %s", link->peer, why);
}

shoal_status shoal_link_adopt(int fd, const char *peer, shoal_link **out)
{
    void *block;
    const int flags = fcntl(fd, F_GETFL), on = 1;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        const int error = errno;
        (void)close(fd);
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", peer, strerror(error));
    }
    const shoal_status st = shoal_alloc(SHOAL_MEM_WIRE, sizeof(shoal_link), &block);
    if (st != SHOAL_OK) {
        (void)close(fd);
        return st;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* refused by Unix sockets */
    shoal_link *link = block;
    link->fd = fd;
    link->generation = SHOAL_GENERATION_ANY;
    link->payload_max = SHOAL_WIRE_HELLO_MAX;
    (void)snprintf(link->peer, sizeof link->peer, "%s", peer);
    (void)pthread_mutex_init(&link->sending, NULL);
    *out = link;
    return SHOAL_OK;
}

shoal_status shoal_link_connect(const char *address, int ms, shoal_link **out)
{
    shoal_address where;
    int fd;
    SHOAL_TRY(shoal_address_parse(address, &where));
    SHOAL_TRY(shoal_socket_connect(&where, address, ms, &fd));
    return shoal_link_adopt(fd, address, out);
}

void shoal_link_close(shoal_link *link)
{
    if (!link)
        return;
    (void)close(link->fd);
    shoal_wire_buffer_free(&link->in);
    shoal_wire_buffer_free(&link->out);
    (void)pthread_mutex_destroy(&link->sending);
    shoal_free(link);
}

int shoal_link_fd(const shoal_link *link)
{
    return link->fd;
}

uint32_t shoal_link_generation(const shoal_link *link)
{
    return link->generation;
}

/* --- sending --------------------------------------------------------------------------------- */

static shoal_status write_all(shoal_link *link, const uint8_t *data, uint64_t bytes, double until)
{
    uint64_t done = 0;
    while (done < bytes) {
        const ssize_t n = send(link->fd, data + done, bytes - done, MSG_NOSIGNAL);
        if (n >= 0) {
            done += (uint64_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            const shoal_status st = shoal_socket_wait(link->fd, POLLOUT, until);
            if (st != SHOAL_OK) {
                link->torn = done > 0;
                return shoal_fail_within(st, "%s does not read", link->peer);
            }
        } else if (errno != EINTR) {
            link->torn = true;
            return gone(link, errno == EPIPE ? "the peer closed the connection" : strerror(errno));
        }
    }
    return SHOAL_OK;
}

static void shrink(shoal_wire_buffer *buffer)
{
    buffer->bytes = 0;
    if (buffer->capacity > KEEP_BYTES)
        shoal_wire_buffer_free(buffer);
}

shoal_status shoal_link_send(shoal_link *link, const shoal_wire_message *message, int ms)
{
    shoal_status st;
    (void)pthread_mutex_lock(&link->sending);
    if (link->torn)
        st = gone(link, "an earlier message was cut off");
    else
        st = shoal_wire_encode(message, link->generation, &link->out);
    if (st == SHOAL_OK)
        st = write_all(link, link->out.data, link->out.bytes, shoal_socket_until(ms));
    shrink(&link->out);
    (void)pthread_mutex_unlock(&link->sending);
    return st;
}

/* --- receiving ------------------------------------------------------------------------------- */

/* Some bytes, at least one, at most `room`. */
static shoal_status read_some(shoal_link *link, uint8_t *to, uint64_t room, double until,
                              uint64_t *got)
{
    for (;;) {
        const ssize_t n = recv(link->fd, to, room, 0);
        if (n > 0) {
            *got = (uint64_t)n;
            return SHOAL_OK;
        }
        if (n == 0)
            return gone(link, "the peer closed the connection");
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            SHOAL_TRY(shoal_socket_wait(link->fd, POLLIN, until));
        else if (errno != EINTR)
            return gone(link, strerror(errno));
    }
}

static shoal_status read_header(shoal_link *link, double until)
{
    while (link->header_bytes < SHOAL_FRAME_HEADER) {
        uint64_t got;
        SHOAL_TRY(read_some(link, link->header + link->header_bytes,
                            SHOAL_FRAME_HEADER - link->header_bytes, until, &got));
        link->header_bytes += (uint32_t)got;
    }
    SHOAL_TRY(shoal_frame_parse(link->header, link->generation, &link->frame));
    if (link->frame.length > link->payload_max)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a %s of %u bytes before the handshake", link->peer,
                          shoal_wire_name(link->frame.type), link->frame.length);
    return SHOAL_OK;
}

static shoal_status read_payload(shoal_link *link, double until)
{
    shoal_wire_buffer *in = &link->in;
    while (in->bytes < link->frame.length) {
        const uint64_t left = link->frame.length - in->bytes;
        uint64_t got, piece = left < READ_PIECE ? left : READ_PIECE;
        SHOAL_TRY(shoal_wire_buffer_reserve(in, in->bytes + piece));
        SHOAL_TRY(read_some(link, in->data + in->bytes, piece, until, &got));
        in->bytes += got;
    }
    return SHOAL_OK;
}

shoal_status shoal_link_receive(shoal_link *link, int ms, shoal_wire_message *out)
{
    const double until = shoal_socket_until(ms);
    SHOAL_TRY(read_header(link, until));
    SHOAL_TRY(read_payload(link, until));
    const shoal_status st = shoal_wire_decode(link->frame.type, link->in.data, link->in.bytes, out);
    link->header_bytes = 0;
    shrink(&link->in);
    return st;
}

/* --- handshake ------------------------------------------------------------------------------- */

static shoal_status expect(const shoal_link *link, const shoal_wire_message *m,
                           shoal_wire_type wanted, uint32_t protocol)
{
    if (m->type != wanted)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s where %s was due", link->peer,
                          shoal_wire_name(m->type), shoal_wire_name(wanted));
    if (protocol != SHOAL_WIRE_PROTOCOL)
        return shoal_fail(SHOAL_ERR_CONFIG, "%s speaks protocol %u, this program %u", link->peer,
                          protocol, SHOAL_WIRE_PROTOCOL);
    return SHOAL_OK;
}

static shoal_status make_nonce(uint8_t nonce[SHOAL_NONCE_BYTES])
{
    if (getrandom(nonce, SHOAL_NONCE_BYTES, 0) != SHOAL_NONCE_BYTES)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "no random numbers: %s", strerror(errno));
    return SHOAL_OK;
}

static shoal_status check_token(size_t bytes)
{
    if (bytes == 0 || bytes > SHOAL_LINK_TOKEN_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "a token of %zu bytes (1 to %d are allowed)", bytes,
                          SHOAL_LINK_TOKEN_MAX);
    return SHOAL_OK;
}

static shoal_status check_hello(const shoal_link *link, const shoal_wire_message *hello,
                                const uint8_t proof[SHOAL_SHA256_BYTES])
{
    if (hello->type == SHOAL_WIRE_HELLO &&
        !shoal_secret_equal(hello->hello.proof.data, proof, SHOAL_SHA256_BYTES))
        return gone(link, "the peer does not hold the token");
    return expect(link, hello, SHOAL_WIRE_HELLO,
                  hello->type == SHOAL_WIRE_HELLO ? hello->hello.protocol : 0);
}

shoal_status shoal_link_challenge(shoal_link *link, const void *token, size_t token_bytes,
                                  uint32_t generation, shoal_wire_message *hello)
{
    uint8_t nonce[SHOAL_NONCE_BYTES], proof[SHOAL_SHA256_BYTES];
    shoal_wire_message m = {.type = SHOAL_WIRE_CHALLENGE}, answer;
    if (generation == SHOAL_GENERATION_ANY)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a link needs a generation above 0");
    SHOAL_TRY(check_token(token_bytes));
    SHOAL_TRY(make_nonce(nonce));
    SHOAL_TRY(shoal_hmac_sha256(token, token_bytes, nonce, sizeof nonce, proof));
    link->generation = generation;
    m.challenge = (shoal_wire_challenge){SHOAL_WIRE_PROTOCOL, {nonce, sizeof nonce}};
    SHOAL_TRY(shoal_link_send(link, &m, SHOAL_LINK_HANDSHAKE_MS));
    SHOAL_TRY(shoal_link_receive(link, SHOAL_LINK_HANDSHAKE_MS, &answer));
    const shoal_status st = check_hello(link, &answer, proof);
    if (st != SHOAL_OK) {
        shoal_wire_free(&answer);
        return st;
    }
    link->payload_max = SHOAL_FRAME_PAYLOAD_MAX;
    *hello = answer;
    return SHOAL_OK;
}

/* The nonce's proof, from a Challenge of a program that speaks our protocol. */
static shoal_status answer_challenge(const shoal_link *link, const shoal_wire_message *challenge,
                                     const void *token, size_t token_bytes,
                                     uint8_t proof[SHOAL_SHA256_BYTES])
{
    SHOAL_TRY(expect(link, challenge, SHOAL_WIRE_CHALLENGE,
                     challenge->type == SHOAL_WIRE_CHALLENGE ? challenge->challenge.protocol : 0));
    const shoal_wire_bytes nonce = challenge->challenge.nonce;
    return shoal_hmac_sha256(token, token_bytes, nonce.data, nonce.bytes, proof);
}

shoal_status shoal_link_introduce(shoal_link *link, const void *token, size_t token_bytes,
                                  const shoal_wire_hello *hello, int ms)
{
    uint8_t proof[SHOAL_SHA256_BYTES];
    shoal_wire_message challenge, m = {.type = SHOAL_WIRE_HELLO};
    SHOAL_TRY(check_token(token_bytes));
    SHOAL_TRY(shoal_link_receive(link, ms, &challenge));
    const shoal_status st = answer_challenge(link, &challenge, token, token_bytes, proof);
    shoal_wire_free(&challenge);
    SHOAL_TRY(st);
    link->generation = link->frame.generation;
    m.hello = *hello;
    m.hello.protocol = SHOAL_WIRE_PROTOCOL;
    m.hello.proof = (shoal_wire_bytes){proof, sizeof proof};
    SHOAL_TRY(shoal_link_send(link, &m, ms));
    link->payload_max = SHOAL_FRAME_PAYLOAD_MAX;
    return SHOAL_OK;
}
