// wsload: a closed-loop WebSocket load generator on epoll.
//
//   wsload --port P [--connections N] [--size BYTES] [--window N] [--seconds S] [--pid PID]...
//
// Each connection keeps `window` messages of `size` bytes in flight and counts the messages that
// come back whole. One JSON line is printed: messages/s, MB/s, percentiles of the round trip (with
// a window of 1) and the CPU time per message of the servers' processes.
//
//   --mode echo        WebSocket (default)
//   --mode raw         no handshake and no framing, but as many bytes: the ceiling of a TCP echo
//   --mode broadcast   the first connection sends, the server is to send each message to all of
//                      them; a message per connection is counted, `window` rounds are in flight
//   --binary           binary messages instead of text
//   --fragments N      each message is sent in N frames
//   --deflated FILE    permessage-deflate payloads that stand alone (RFC 7692 7.2.1, the tails cut
//                      off), each behind its length in 4 bytes, the most significant first. They
//                      are sent in turn, with RSV1; client_no_context_takeover is offered, and
//                      every answer must be deflated. --size is then the plain size
//   --tls              TLS; the certificate is not checked
//   --warmup S         seconds before the figures begin (0.3)
//   --stall S          seconds without a message after which it gives up (5)
//
// What is not as asked (a refused handshake, a Close, an echo of another size, a stall) ends it
// with a line on standard error and status 1. Compiled without OpenSSL (-DWITHOUT_TLS), --tls does.
#include "common.h"

#ifndef WITHOUT_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
typedef void SSL_CTX;
#endif

#define READ_SIZE (1 << 20)
#define MAX_PAYLOAD (1 << 26)
#define MAX_SAMPLES (1 << 20)
#define EVENTS 256

enum mode { ECHO, RAW, BROADCAST };

static struct {
    const char *host, *path, *deflated;
    int port, connections, window, fragments;
    size_t size;
    double seconds, warmup, stall;
    enum mode mode;
    bool binary, tls;
    pid_list pids;
} options = {.host = "127.0.0.1",
             .path = "/",
             .connections = 1,
             .window = 1,
             .fragments = 1,
             .size = 32,
             .seconds = 1,
             .warmup = 0.3,
             .stall = 5};

typedef struct {
    int fd;
    SSL *ssl;
    uint64_t messages;       // that may be sent so far
    uint64_t allowed, sent;  // their bytes, and those that were sent
    uint64_t received;       // raw: bytes that came back
    uint8_t head[10];        // the header of the frame that is arriving
    int head_len;
    uint64_t frame_left;    // bytes of its payload that are missing
    uint64_t message_size;  // payload of the message so far
    bool deflated;          // its first frame has RSV1
    double sent_at;
} conn;

// The messages to send, again and again in turn; at least `window`, so that one write can take all
// that are in flight.
static uint8_t *batch;
static size_t *ends;  // where each ends in it; ends[-1] is 0
static size_t batch_count, batch_len;

static uint64_t messages, payload_bytes;
static double *samples;
static size_t sample_count;

// ------------------------------------------------------------------ bytes in and out

#ifndef WITHOUT_TLS
// What SSL_read or SSL_write returned, in the way of read(2) and write(2).
static ssize_t stream_result(conn *c, int n) {
    if (n > 0) return n;
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}
#endif

static ssize_t stream_read(conn *c, void *into, size_t size) {
#ifndef WITHOUT_TLS
    if (c->ssl) {
        ERR_clear_error();
        return stream_result(c, SSL_read(c->ssl, into, (int)size));
    }
#endif
    return read(c->fd, into, size);
}

static ssize_t stream_write(conn *c, const void *from, size_t size) {
#ifndef WITHOUT_TLS
    if (c->ssl) {
        ERR_clear_error();
        return stream_result(c, SSL_write(c->ssl, from, (int)size));
    }
#endif
    return write(c->fd, from, size);
}

static SSL_CTX *tls_context(void) {
#ifndef WITHOUT_TLS
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) die("no TLS context", NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
#else
    die("--tls: compiled without OpenSSL", NULL);
    return NULL;
#endif
}

static void start_tls(conn *c, SSL_CTX *context) {
#ifndef WITHOUT_TLS
    c->ssl = SSL_new(context);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || SSL_connect(c->ssl) != 1)
        die("the TLS handshake failed", NULL);
#else
    (void)c, (void)context;
#endif
}

// ------------------------------------------------------------------ the messages to send

// Writes one masked frame behind `to`, returns its end.
static uint8_t *put_frame(uint8_t *to, uint8_t first, const uint8_t *payload, size_t size) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    *to++ = first;
    if (size < 126) {
        *to++ = (uint8_t)(0x80 | size);
    } else {
        int bytes = size < 65536 ? 2 : 8;
        *to++ = 0x80 | (bytes == 2 ? 126 : 127);
        for (int i = bytes - 1; i >= 0; i--) *to++ = (uint8_t)((uint64_t)size >> (8 * i));
    }
    memcpy(to, key, 4);
    to += 4;
    for (size_t i = 0; i < size; i++) to[i] = payload[i] ^ key[i & 3];
    return to + size;
}

// Writes a message behind `to` in as many frames as are asked for, returns its end.
static uint8_t *put_message(uint8_t *to, const uint8_t *payload, size_t size) {
    size_t count = (size_t)options.fragments;
    for (size_t i = 0; i < count; i++) {
        size_t from = size * i / count, end = size * (i + 1) / count;
        uint8_t first = i == count - 1 ? 0x80 : 0;
        if (i == 0) first |= (options.deflated ? 0x40 : 0) | (options.binary ? 2 : 1);
        to = put_frame(to, first, payload + from, end - from);
    }
    return to;
}

static void make_batch(void) {
    uint8_t *payloads;
    size_t *sizes, count = 1, total = options.size;
    if (options.deflated) {
        FILE *file = fopen(options.deflated, "rb");
        if (!file) die_errno(options.deflated);
        payloads = malloc(MAX_PAYLOAD);
        sizes = malloc(MAX_PAYLOAD / 4 * sizeof *sizes);
        uint8_t prefix[4];
        for (count = total = 0; fread(prefix, 1, 4, file) == 4; count++) {
            size_t size = (size_t)prefix[0] << 24 | prefix[1] << 16 | prefix[2] << 8 | prefix[3];
            if (size > MAX_PAYLOAD - total || fread(payloads + total, 1, size, file) != size)
                die("--deflated: a payload is cut off", NULL);
            sizes[count] = size;
            total += size;
        }
        fclose(file);
        if (!count) die("--deflated: the file holds no payload", NULL);
    } else {
        payloads = malloc(total + 1);
        sizes = &options.size;
        for (size_t i = 0; i < total; i++) payloads[i] = (uint8_t)('a' + i % 26);
    }
    // All of them once, or several times where more are in flight.
    size_t times = ((size_t)options.window + count - 1) / count;
    batch_count = times * count;
    batch = malloc(times * (total + 14 * count * (size_t)options.fragments));
    ends = calloc(batch_count + 1, sizeof *ends);
    if (!batch || !ends) die("out of memory", NULL);
    ends++;
    uint8_t *end = batch;
    for (size_t i = 0, at = 0; i < batch_count; i++) {
        if (i % count == 0) at = 0;
        end = put_message(end, payloads + at, sizes[i % count]);
        at += sizes[i % count];
        ends[i] = (size_t)(end - batch);
    }
    batch_len = ends[batch_count - 1];
    free(payloads);
}

// Bytes of so many messages.
static uint64_t bytes_of(uint64_t count) {
    return count / batch_count * batch_len + ends[(ssize_t)(count % batch_count) - 1];
}

// ------------------------------------------------------------------ the clock

static struct {
    bool warm;                         // the figures have begun
    double at, until;                  // when they begin or began, when they end
    double cpu, last_progress;         // at the beginning; when a message was last seen
    uint64_t messages, payload_bytes;  // the counts at the beginning
    uint64_t seen;                     // messages, when last looked
} run;

static void start_clock(double t) {
    run.at = t + options.warmup;
    run.last_progress = t;
}

// Begins the figures when it is time for that; returns whether they have ended.
static bool is_over(double t) {
    if (messages != run.seen) {
        run.seen = messages;
        run.last_progress = t;
    }
    if (t > run.last_progress + options.stall) die("stalled: no message came back", NULL);
    if (!run.warm && t >= run.at) {
        run.warm = true;
        run.at = t;
        run.until = t + options.seconds;
        run.messages = messages;
        run.payload_bytes = payload_bytes;
        run.cpu = cpu_seconds(&options.pids);
        sample_count = 0;
    }
    return run.warm && t >= run.until;
}

// ------------------------------------------------------------------ one connection

// Lets the connection send more messages.
static void allow(conn *c, uint64_t count) {
    c->messages += count;
    c->allowed = bytes_of(c->messages);
}

static void handshake(conn *c) {
    char text[1024], head[HEAD_SIZE];
    int size = snprintf(
        text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        options.path, options.host, options.port,
        options.deflated
            ? "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
            : "");
    if (stream_write(c, text, (size_t)size) != size) die("the request could not be sent", NULL);
    size_t got = 0;
    while (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4)) {  // byte by byte: not one too many
        if (got == sizeof head - 1 || stream_read(c, head + got, 1) != 1)
            die("the handshake was not answered", NULL);
        got++;
    }
    head[got] = 0;
    if (strncmp(head, "HTTP/1.1 101", 12)) die("the handshake was refused", head);
    if (options.deflated && !strcasestr(head, "permessage-deflate"))
        die("permessage-deflate was not accepted", NULL);
}

// Sends what may be sent; returns whether anything went out.
static bool send_allowed(conn *c) {
    bool progress = false;
    while (c->sent < c->allowed) {
        size_t at = c->sent % batch_len, left = c->allowed - c->sent, most = batch_len - at;
        ssize_t n = stream_write(c, batch + at, left < most ? left : most);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) die_errno("write");
        c->sent += (uint64_t)n;
        progress = true;
    }
    return progress;
}

// A whole message has come.
static void check_message(const conn *c) {
    if (options.deflated) {
        if (!c->deflated) die("a message came back that is not deflated", NULL);
    } else if (c->message_size != options.size) {
        fprintf(stderr, "a message of %lu bytes came back, expected %lu\n",
                (unsigned long)c->message_size, (unsigned long)options.size);
        exit(1);
    }
    payload_bytes += c->message_size;
}

// Takes in bytes that have come; returns how many messages ended in them.
static uint64_t take_frames(conn *c, const uint8_t *data, size_t size) {
    uint64_t done = 0;
    size_t at = 0;
    while (at < size) {
        if (c->frame_left) {
            size_t n = c->frame_left < size - at ? c->frame_left : size - at;
            at += n;
            c->frame_left -= n;
        } else {
            c->head[c->head_len++] = data[at++];
            if (c->head_len < 2) continue;
            int len = c->head[1];
            int need = 2 + (len < 126 ? 0 : len == 126 ? 2 : 8);
            if (c->head_len < need) continue;
            c->head_len = 0;
            uint64_t payload = 0;
            for (int i = 2; i < need; i++) payload = payload << 8 | c->head[i];
            if (len < 126) payload = (uint64_t)len;
            int opcode = c->head[0] & 15;
            if (opcode == 8) die("the server closed the connection", NULL);
            if (opcode > 8) {  // a ping now and then: not answered, as the runs are short
                c->message_size -= payload;
            } else if (opcode) {
                c->deflated = c->head[0] & 0x40;
            }
            c->message_size += payload;
            c->frame_left = payload;
        }
        if (!c->frame_left && c->head[0] & 0x80 && (c->head[0] & 15) < 8) {
            check_message(c);
            c->message_size = 0;
            done++;
        }
    }
    return done;
}

static uint64_t take_raw(conn *c, size_t size) {
    uint64_t each = ends[0], before = c->received / each;  // they are all alike
    c->received += size;
    return c->received / each - before;
}

// Reads and writes until the socket gives and takes nothing more (it is edge-triggered), or until
// the time is over.
static void serve(conn *c, conn *first) {
    static uint8_t buffer[READ_SIZE];
    while (true) {
        bool progress = send_allowed(c);
        ssize_t n = stream_read(c, buffer, sizeof buffer);
        if (n == 0) die("the server ended the connection", NULL);
        if (n < 0) {
            if (errno != EAGAIN) die_errno("read");
            if (!progress) return;
            continue;
        }
        uint64_t done =
            options.mode == RAW ? take_raw(c, (size_t)n) : take_frames(c, buffer, (size_t)n);
        if (!done) continue;
        uint64_t rounds_before = messages / (uint64_t)options.connections;
        messages += done;
        double t = now();
        if (options.mode == BROADCAST) {
            uint64_t rounds = messages / (uint64_t)options.connections - rounds_before;
            allow(first, rounds);
            if (rounds) send_allowed(first);
        } else {
            allow(c, done);
            if (options.window == 1) {
                if (sample_count < MAX_SAMPLES) samples[sample_count++] = t - c->sent_at;
                c->sent_at = t;
            }
        }
        if (is_over(t)) return;
    }
}

// ------------------------------------------------------------------ the run

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double part) {
    return sample_count ? samples[(size_t)((double)sample_count * part)] * 1e6 : 0;
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {{"host", 1, 0, 'h'},      {"port", 1, 0, 'p'},
                                          {"path", 1, 0, 'u'},      {"connections", 1, 0, 'c'},
                                          {"size", 1, 0, 's'},      {"window", 1, 0, 'w'},
                                          {"seconds", 1, 0, 't'},   {"warmup", 1, 0, 'W'},
                                          {"stall", 1, 0, 'S'},     {"mode", 1, 0, 'm'},
                                          {"fragments", 1, 0, 'f'}, {"deflated", 1, 0, 'd'},
                                          {"pid", 1, 0, 'P'},       {"binary", 0, 0, 'b'},
                                          {"tls", 0, 0, 'x'},       {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
            case 'h': options.host = optarg; break;
            case 'u': options.path = optarg; break;
            case 'd': options.deflated = optarg; break;
            case 'b': options.binary = true; break;
            case 'x': options.tls = true; break;
            case 'P': add_pid(&options.pids, optarg); break;
            case 'p': options.port = (int)number("port", optarg, 1, 65535); break;
            case 'c': options.connections = (int)number("connections", optarg, 1, 1e6); break;
            case 's': options.size = (size_t)number("size", optarg, 0, MAX_PAYLOAD); break;
            case 'w': options.window = (int)number("window", optarg, 1, 1e6); break;
            case 'f': options.fragments = (int)number("fragments", optarg, 1, 1e6); break;
            case 't': options.seconds = number("seconds", optarg, 0.01, 600); break;
            case 'W': options.warmup = number("warmup", optarg, 0, 60); break;
            case 'S': options.stall = number("stall", optarg, 0.1, 600); break;
            case 'm':
                if (!strcmp(optarg, "echo"))
                    options.mode = ECHO;
                else if (!strcmp(optarg, "raw"))
                    options.mode = RAW;
                else if (!strcmp(optarg, "broadcast"))
                    options.mode = BROADCAST;
                else
                    die("--mode: expected echo, raw or broadcast, not", optarg);
                break;
            default: exit(2);
        }
    }
    if (optind < argc) die("unexpected argument", argv[optind]);
    if (!options.port) die("--port is missing", NULL);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    raise_descriptors();
    make_batch();
    int count = options.connections;
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    conn *conns = calloc((size_t)count, sizeof *conns);
    SSL_CTX *context = options.tls ? tls_context() : NULL;
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        conn *c = &conns[i];
        c->fd = open_tcp(options.host, options.port, i);
        if (context) start_tls(c, context);
        if (options.mode != RAW) handshake(c);
        set_nonblocking(c->fd);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event)) die_errno("epoll_ctl");
    }

    start_clock(now());
    for (int i = 0; i < (options.mode == BROADCAST ? 1 : count); i++) {
        conns[i].sent_at = now();
        allow(&conns[i], (uint64_t)options.window);
        send_allowed(&conns[i]);
    }
    struct epoll_event events[EVENTS];
    while (!is_over(now())) {
        int n = epoll_wait(poll, events, EVENTS, 100);
        for (int i = 0; i < n; i++) serve(events[i].data.ptr, conns);
    }

    double took = now() - run.at, used = cpu_seconds(&options.pids) - run.cpu;
    double done = (double)(messages - run.messages);
    if (done == 0) die("no message came back in the time", NULL);
    qsort(samples, sample_count, sizeof *samples, compare);
    printf(
        "{\"connections\": %d, \"size\": %zu, \"window\": %d, \"messages\": %.0f, "
        "\"seconds\": %.4f, \"messages_per_s\": %.2f, \"megabytes_per_s\": %.2f, "
        "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
        "\"cpu_us_per_message\": %.4f, \"cpu_share\": %.3f, "
        "\"bytes_back\": %.1f}\n",
        count, options.size, options.window, done, took, done / took,
        done * (double)options.size / took / 1e6, percentile(0.5), percentile(0.99),
        percentile(0.999), used * 1e6 / done, used / took,
        (double)(payload_bytes - run.payload_bytes) / done);
    return 0;
}
