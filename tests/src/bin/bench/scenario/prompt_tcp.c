// Preloaded into `ssh`. Each TCP socket sends small packets at once (TCP_NODELAY), and acknowledges at once after each
// read (TCP_QUICKACK, which the kernel takes back by itself).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static void set(int fd, int option) {
    int on = 1;
    int error = errno;
    // It fails on files and pipes, and changes nothing there.
    setsockopt(fd, IPPROTO_TCP, option, &on, sizeof on);
    errno = error;
}

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    set(fd, TCP_NODELAY);
    set(fd, TCP_QUICKACK);
    return next(fd, to, length);
}

ssize_t read(int fd, void *bytes, size_t size) {
    ssize_t (*next)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    ssize_t got = next(fd, bytes, size);
    set(fd, TCP_QUICKACK);
    return got;
}
