/* What handlers can do with an exchange (coordinator/serve/http_server.h). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/clock.h"
#include "coordinator/serve/http_connection.h"
#include "proto/arena.h"

/* A client may name its request if the name is harmless in logs and headers. */
#define CLIENT_ID_MAX 64

static const char id_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

/* ---- life ---- */

static void choose_id(shoal_http_exchange *exchange)
{
    shoal_http_shared *shared = exchange->connection->shared;
    const char *given = shoal_http_header(exchange, "X-Request-Id");
    const size_t bytes = given ? strlen(given) : 0;
    if (bytes > 0 && bytes <= CLIENT_ID_MAX && strspn(given, id_letters) == bytes)
        (void)snprintf(exchange->id, sizeof exchange->id, "%s", given);
    else
        (void)snprintf(exchange->id, sizeof exchange->id, "req-%08" PRIx32 "%08" PRIx64,
                       shared->id_prefix, ++shared->ids);
}

bool shoal_http_exchange_open(shoal_http_connection *connection)
{
    const shoal_http_parser *parser = &connection->parser;
    void *block;
    if (shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_http_exchange), &block) != SHOAL_OK)
        return false;
    shoal_http_exchange *exchange = connection->exchange = block;
    exchange->connection = connection;
    exchange->request.method = parser->method ? parser->method : "";
    exchange->request.path = parser->path ? parser->path : "";
    exchange->request.query = parser->query ? parser->query : "";
    exchange->head_only = strcmp(exchange->request.method, "HEAD") == 0;
    exchange->output_before = connection->output.total;
    choose_id(exchange);
    return true;
}

/* Its last moment: the log line, and the memory. */
static void end(shoal_http_exchange *exchange, int status)
{
    shoal_http_connection *connection = exchange->connection;
    const shoal_http_handlers *handlers = &connection->shared->handlers;
    handlers->on_done(handlers->context, &exchange->request, exchange->id, status,
                      shoal_clock_seconds() - connection->began,
                      connection->output.total - exchange->output_before);
    connection->exchange = NULL;
    shoal_free(exchange);
}

void shoal_http_exchange_withdraw(shoal_http_exchange *exchange)
{
    const shoal_http_handlers *handlers = &exchange->connection->shared->handlers;
    if (exchange->announced)
        handlers->on_gone(handlers->context, exchange);
    exchange->announced = false;
}

void shoal_http_exchange_lose(shoal_http_exchange *exchange)
{
    shoal_http_exchange_withdraw(exchange);
    end(exchange, 0);
}

/* ---- the request ---- */

const char *shoal_http_header(const shoal_http_exchange *exchange, const char *name)
{
    return shoal_http_parser_header(&exchange->connection->parser, name);
}

const char *shoal_http_request_id(const shoal_http_exchange *exchange)
{
    return exchange->id;
}

void shoal_http_set_user(shoal_http_exchange *exchange, void *user)
{
    exchange->user = user;
}

void *shoal_http_user(const shoal_http_exchange *exchange)
{
    return exchange->user;
}

char *shoal_http_take_body(shoal_http_exchange *exchange, size_t *bytes)
{
    shoal_strbuf *body = &exchange->connection->body;
    char *data = body->data;
    *bytes = body->bytes;
    exchange->connection->shared->bodies -= body->bytes;
    *body = (shoal_strbuf){0};
    return data;
}

/* ---- the answer ---- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *words;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].words;
    return "Unknown";
}

/* Everything in front of the body. `framing`: the line that says where the body ends, or "". */
static void write_head(shoal_http_exchange *exchange, int status, const char *content_type,
                       const char *headers, const char *framing)
{
    shoal_http_connection *connection = exchange->connection;
    const shoal_http_parser *parser = &connection->parser;
    shoal_http_output *output = &connection->output;
    if (!parser->keep_alive || !shoal_http_parser_ended(parser) || connection->shared->stopping)
        connection->close_after = true;
    shoal_http_output_print(output, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nX-Request-Id: %s\r\n",
                            status, reason(status), content_type, exchange->id);
    if (headers)
        shoal_http_output_append(output, headers, strlen(headers));
    shoal_http_output_append(output, framing, strlen(framing));
    if (connection->close_after)
        shoal_http_output_print(output, "Connection: close\r\n");
    else if (!parser->http_1_1)
        shoal_http_output_print(output, "Connection: keep-alive\r\n");
    shoal_http_output_print(output, "\r\n");
}

void shoal_http_reply(shoal_http_exchange *exchange, int status, const char *content_type,
                      const char *headers, const char *body, size_t bytes)
{
    shoal_http_connection *connection = exchange->connection;
    char framing[48];
    (void)snprintf(framing, sizeof framing, "Content-Length: %zu\r\n", bytes);
    write_head(exchange, status, content_type, headers, status == 204 ? "" : framing);
    if (!exchange->head_only)
        shoal_http_output_append(&connection->output, body, bytes);
    end(exchange, status);
    shoal_http_connection_answered(connection);
}

void shoal_http_reply_error(shoal_http_exchange *exchange, const shoal_api_error *error)
{
    char retry[48] = "";
    shoal_strbuf text = {0};
    if (error->retry_after > 0)
        (void)snprintf(retry, sizeof retry, "Retry-After: %d\r\n", error->retry_after);
    if (shoal_api_error_write(error, &text) != SHOAL_OK)
        text.bytes = 0; /* the status still says it */
    shoal_http_reply(exchange, error->status, "application/json", retry, text.data, text.bytes);
    shoal_strbuf_free(&text);
}

void shoal_http_stream_begin(shoal_http_exchange *exchange, const char *content_type,
                             const char *headers)
{
    shoal_http_connection *connection = exchange->connection;
    exchange->chunked = connection->parser.http_1_1;
    if (!exchange->chunked)
        connection->close_after = true; /* the end of the connection is the end of the body */
    write_head(exchange, 200, content_type, headers,
               exchange->chunked ? "Transfer-Encoding: chunked\r\n" : "");
    shoal_http_connection_wants_service(connection);
}

/* A piece that is large by itself is no reader's fault. */
static bool is_too_slow(const shoal_http_exchange *exchange)
{
    const size_t waiting = shoal_http_output_unsent(&exchange->connection->output);
    return waiting > exchange->largest && waiting - exchange->largest > SHOAL_HTTP_UNSENT_MAX;
}

bool shoal_http_stream_write(shoal_http_exchange *exchange, const char *bytes, size_t count)
{
    shoal_http_connection *connection = exchange->connection;
    shoal_http_output *output = &connection->output;
    if (count > exchange->largest)
        exchange->largest = count;
    if (count > 0 && !exchange->head_only) {
        if (exchange->chunked)
            shoal_http_output_print(output, "%zx\r\n", count);
        shoal_http_output_append(output, bytes, count);
        if (exchange->chunked)
            shoal_http_output_print(output, "\r\n");
    }
    if (shoal_http_output_unsent(output) > SHOAL_HTTP_UNSENT_MAX)
        (void)shoal_http_output_flush(output, connection->fd);
    if (output->broken || is_too_slow(exchange)) {
        shoal_http_connection_cut(connection);
        return false;
    }
    shoal_http_connection_wants_service(connection);
    return true;
}

void shoal_http_stream_end(shoal_http_exchange *exchange)
{
    shoal_http_connection *connection = exchange->connection;
    if (exchange->chunked && !exchange->head_only)
        shoal_http_output_print(&connection->output, "0\r\n\r\n");
    end(exchange, 200);
    shoal_http_connection_answered(connection);
}
