/* Lets the k-th call on a TCP socket fail as the kernel would let it fail.

   Loaded ahead of the C library (LD_PRELOAD), so it does not matter who calls: Python's sockets,
   OpenSSL or libuv. Calls of threads that said `faults_exempt` are left alone: the test's own peer.
   What is broken stays broken until its descriptor is closed, as with a real stream. Linux, glibc.

   `calls.py` builds and steers it; the numbers here are those of its enums. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { READ, WRITE, SHUTDOWN, CONNECT };
enum effect { NONE, AGAIN, INTERRUPTED, SHORT, END, RESET, TIMEOUT, PIPE, REFUSED, NOT_CONNECTED };
enum state { WHOLE, ENDED, BROKEN, DEAF };
enum verdict { GO, FAIL, GIVE_END, CUT };

#define DESCRIPTORS 65536

static atomic_int armed, wanted_op, wanted_effect, left, struck;
static atomic_long counts[4], delivered;
static atomic_uchar states[DESCRIPTORS];
static __thread int exempt;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
  return dlsym(RTLD_NEXT, name);
}

/* -------------------------------------------------------------------------------- for calls.py */

void faults_exempt(void) { exempt = 1; }

void faults_arm(int op, int effect, int k) {
  for (int fd = 0; fd < DESCRIPTORS; fd++) states[fd] = WHOLE;
  for (int i = 0; i < 4; i++) counts[i] = 0;
  delivered = 0;
  struck = 0;
  wanted_op = op;
  wanted_effect = effect;
  left = k;
  armed = 1;
}

void faults_disarm(void) { armed = 0; }
int faults_struck(void) { return struck; }
long faults_count(int op) { return counts[op]; }
long faults_delivered(void) { return delivered; }

/* -------------------------------------------------------------------------------- the judge */

static int is_ours(int fd) {
  if (!armed || exempt || fd < 0 || fd >= DESCRIPTORS) return 0;
  int before = errno, domain = 0, type = 0;
  socklen_t size = sizeof domain;
  int ours = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET;
  size = sizeof type;
  ours = ours && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
  errno = before;
  return ours;
}

static int number_of(enum effect effect) {
  switch (effect) {
    case AGAIN: return EAGAIN;
    case INTERRUPTED: return EINTR;
    case RESET: return ECONNRESET;
    case TIMEOUT: return ETIMEDOUT;
    case PIPE: return EPIPE;
    case REFUSED: return ECONNREFUSED;
    case NOT_CONNECTED: return ENOTCONN;
    default: return 0;
  }
}

static enum verdict judge(enum op op, int fd) {
  if (!is_ours(fd)) return GO;
  enum state state = states[fd];
  if (op == READ && (state == ENDED || state == BROKEN)) return GIVE_END;
  if (op == WRITE && (state == DEAF || state == BROKEN)) {
    errno = EPIPE;
    return FAIL;
  }
  counts[op]++;
  if ((int)op != wanted_op || atomic_fetch_sub(&left, 1) != 1) return GO;
  struck = 1;
  /* A shutdown that is real lets a poll see what the calls tell, and the peer too. */
  switch (wanted_effect) {
    case SHORT: return CUT;
    case END:
      states[fd] = ENDED;
      REAL(shutdown)(fd, SHUT_RD);
      return GIVE_END;
    case PIPE:
      states[fd] = DEAF;
      REAL(shutdown)(fd, SHUT_WR);
      break;
    case RESET:
    case TIMEOUT:
    case NOT_CONNECTED:
      states[fd] = BROKEN;
      REAL(shutdown)(fd, SHUT_RDWR);
      break;
    default: break;
  }
  errno = number_of(wanted_effect);
  return FAIL;
}

static ssize_t note(int fd, ssize_t got) {
  if (got > 0 && is_ours(fd)) delivered += got;
  return got;
}

/* The first byte of what is to be moved; the whole where there is none. */
static int first_byte(const struct iovec *parts, int count, struct iovec *cut) {
  for (int i = 0; i < count; i++) {
    if (parts[i].iov_len > 0) {
      cut->iov_base = parts[i].iov_base;
      cut->iov_len = 1;
      return 1;
    }
  }
  return 0;
}

#define CUT_OF(size) ((size) > 1 ? 1 : (size))

/* -------------------------------------------------------------------------------- reading */

#define READING(fd, size, call)                       \
  do {                                                \
    enum verdict verdict = judge(READ, fd);           \
    if (verdict == FAIL) return -1;                   \
    if (verdict == GIVE_END) return 0;                \
    if (verdict == CUT) size = CUT_OF(size);          \
    return note(fd, call);                            \
  } while (0)

ssize_t read(int fd, void *to, size_t size) { READING(fd, size, REAL(read)(fd, to, size)); }

ssize_t recv(int fd, void *to, size_t size, int flags) {
  READING(fd, size, REAL(recv)(fd, to, size, flags));
}

ssize_t recvfrom(int fd, void *to, size_t size, int flags, struct sockaddr *from, socklen_t *len) {
  READING(fd, size, REAL(recvfrom)(fd, to, size, flags, from, len));
}

/* What the compiler makes of the above where it knows the size of the buffer. */
ssize_t __read_chk(int fd, void *to, size_t size, size_t room) {
  (void)room;
  return read(fd, to, size);
}

ssize_t __recv_chk(int fd, void *to, size_t size, size_t room, int flags) {
  (void)room;
  return recv(fd, to, size, flags);
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
  struct iovec cut;
  enum verdict verdict = judge(READ, fd);
  if (verdict == FAIL) return -1;
  if (verdict == GIVE_END) return 0;
  if (verdict == CUT && first_byte(parts, count, &cut)) return note(fd, REAL(readv)(fd, &cut, 1));
  return note(fd, REAL(readv)(fd, parts, count));
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  struct iovec cut;
  enum verdict verdict = judge(READ, fd);
  if (verdict == FAIL) return -1;
  if (verdict == GIVE_END) return 0;
  if (verdict == CUT && first_byte(message->msg_iov, (int)message->msg_iovlen, &cut)) {
    struct msghdr small = *message;
    small.msg_iov = &cut;
    small.msg_iovlen = 1;
    return note(fd, REAL(recvmsg)(fd, &small, flags));
  }
  return note(fd, REAL(recvmsg)(fd, message, flags));
}

/* -------------------------------------------------------------------------------- writing */

#define WRITING(fd, size, call)                       \
  do {                                                \
    enum verdict verdict = judge(WRITE, fd);          \
    if (verdict == FAIL) return -1;                   \
    if (verdict == CUT) size = CUT_OF(size);          \
    return call;                                      \
  } while (0)

ssize_t write(int fd, const void *from, size_t size) {
  WRITING(fd, size, REAL(write)(fd, from, size));
}

ssize_t send(int fd, const void *from, size_t size, int flags) {
  WRITING(fd, size, REAL(send)(fd, from, size, flags));
}

ssize_t sendto(int fd, const void *from, size_t size, int flags, const struct sockaddr *to,
               socklen_t len) {
  WRITING(fd, size, REAL(sendto)(fd, from, size, flags, to, len));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct iovec cut;
  enum verdict verdict = judge(WRITE, fd);
  if (verdict == FAIL) return -1;
  if (verdict == CUT && first_byte(parts, count, &cut)) return REAL(writev)(fd, &cut, 1);
  return REAL(writev)(fd, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  struct iovec cut;
  enum verdict verdict = judge(WRITE, fd);
  if (verdict == FAIL) return -1;
  if (verdict == CUT && first_byte(message->msg_iov, (int)message->msg_iovlen, &cut)) {
    struct msghdr small = *message;
    small.msg_iov = &cut;
    small.msg_iovlen = 1;
    return REAL(sendmsg)(fd, &small, flags);
  }
  return REAL(sendmsg)(fd, message, flags);
}

/* -------------------------------------------------------------------------------- the rest */

int shutdown(int fd, int how) {
  return judge(SHUTDOWN, fd) == FAIL ? -1 : REAL(shutdown)(fd, how);
}

int connect(int fd, const struct sockaddr *to, socklen_t len) {
  return judge(CONNECT, fd) == FAIL ? -1 : REAL(connect)(fd, to, len);
}

int close(int fd) {
  if (fd >= 0 && fd < DESCRIPTORS) states[fd] = WHOLE; /* its number is soon another's */
  return REAL(close)(fd);
}
