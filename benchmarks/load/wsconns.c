// wsconns: opens WebSocket connections and keeps them idle; what a handshake and an idle connection
// cost the server.
//
//   wsconns --port P --pid PID... [--connections N] [--parallel N] [--deflate] [--headers N]
//
// `parallel` handshakes are under way at a time. The request is a browser's, with `headers` more
// fields. `--settle` seconds (1.5) after the last one the server's memory is read. One JSON line is
// printed: handshakes/s, CPU time per handshake, resident bytes per connection.
#include "common.h"

#define EVENTS 128
#define STALL_MS 5000

static struct {
    const char *host, *path;
    int port, connections, parallel, headers;
    bool deflate;
    double settle;
    pid_list pids;
} options = {.host = "127.0.0.1", .path = "/", .connections = 1000, .parallel = 32, .settle = 1.5};

typedef struct {
    int fd, len;
    char head[HEAD_SIZE];
} conn;

static char request[REQUEST_SIZE];
static int request_len;

static void make_request(void) {
    int n = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Origin: http://%s:%d\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/156.0.0.0 Safari/537.36\r\n"
        "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n"
        "Cache-Control: no-cache\r\nPragma: no-cache\r\n%s",
        options.path, options.host, options.port, options.host, options.port,
        options.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                        : "");
    for (int i = 0; i < options.headers && n < (int)sizeof request - 64; i++)
        n += snprintf(request + n, sizeof request - (size_t)n, "X-Field-%d: value %d\r\n", i, i);
    if (n >= (int)sizeof request - 64) die("--headers: the request is too large", NULL);
    request_len = n + snprintf(request + n, sizeof request - (size_t)n, "\r\n");
}

static void start(conn *c, int index, int poll) {
    c->fd = open_tcp(options.host, options.port, index);
    if (write(c->fd, request, (size_t)request_len) != request_len) die_errno("write");
    set_nonblocking(c->fd);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event)) die_errno("epoll_ctl");
}

// Reads on; returns whether the whole answer is there.
static bool read_answer(conn *c) {
    ssize_t n = read(c->fd, c->head + c->len, sizeof c->head - 1 - (size_t)c->len);
    if (n <= 0) die("the server ended the connection", c->head);
    c->len += (int)n;
    if (!strstr(c->head, "\r\n\r\n")) return false;
    if (strncmp(c->head, "HTTP/1.1 101", 12)) die("the handshake was refused", c->head);
    if (options.deflate && !strcasestr(c->head, "permessage-deflate"))
        die("permessage-deflate was not accepted", NULL);
    return true;
}

static void read_options(int argc, char **argv) {
    static const struct option names[] = {{"host", 1, 0, 'h'},        {"port", 1, 0, 'p'},
                                          {"path", 1, 0, 'u'},        {"pid", 1, 0, 'P'},
                                          {"connections", 1, 0, 'c'}, {"parallel", 1, 0, 'a'},
                                          {"headers", 1, 0, 'n'},     {"settle", 1, 0, 's'},
                                          {"deflate", 0, 0, 'd'},     {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
            case 'h': options.host = optarg; break;
            case 'u': options.path = optarg; break;
            case 'd': options.deflate = true; break;
            case 'P': add_pid(&options.pids, optarg); break;
            case 'p': options.port = (int)number("port", optarg, 1, 65535); break;
            case 'c': options.connections = (int)number("connections", optarg, 1, 1e6); break;
            case 'a': options.parallel = (int)number("parallel", optarg, 1, 1e4); break;
            case 'n': options.headers = (int)number("headers", optarg, 0, 1e4); break;
            case 's': options.settle = number("settle", optarg, 0, 60); break;
            default: exit(2);
        }
    }
    if (optind < argc) die("unexpected argument", argv[optind]);
    if (!options.port || !options.pids.count) die("--port and --pid are needed", NULL);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    raise_descriptors();
    make_request();
    int count = options.connections, started = 0, done = 0;
    conn *conns = calloc((size_t)count, sizeof *conns);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    double memory = resident_bytes(&options.pids), cpu = cpu_seconds(&options.pids), began = now();
    while (done < count) {
        for (; started < count && started - done < options.parallel; started++)
            start(&conns[started], started, poll);
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poll, events, EVENTS, STALL_MS);
        if (n <= 0) die("stalled: no handshake was answered", NULL);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (!read_answer(c)) continue;
            epoll_ctl(poll, EPOLL_CTL_DEL, c->fd, NULL);
            done++;
        }
    }
    double took = now() - began, used = cpu_seconds(&options.pids) - cpu;
    usleep((useconds_t)(options.settle * 1e6));
    double grown = resident_bytes(&options.pids) - memory;
    printf(
        "{\"connections\": %d, \"handshakes_per_s\": %.1f, \"cpu_us_per_handshake\": %.2f, "
        "\"bytes_per_connection\": %.1f}\n",
        count, count / took, used * 1e6 / count, grown / count);
    return 0;
}
