#include "daemon/notify.h"

#include "base/error.h"
#include "base/log.h"
#include "base/sys.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STOP_SLACK_MS 20000 /* from when the requests have ended until we have */

/* A path, or with "@" in front a name of the abstract kind. */
static int fill_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_size)
{
    size_t length = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof(ret->sun_path))
        return -1;
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(ret->sun_path, name, length);
    if (name[0] == '@')
        ret->sun_path[0] = '\0';
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
    return 0;
}

static int connect_to(const char *name, int *ret_fd, struct berm_error *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    socklen_t size;

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    if (fill_address(name, &address, &size) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "NOTIFY_SOCKET is no path and no name that begins with @");
    if (connect(fd, (const struct sockaddr *)&address, size) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "connect to the service manager at %s", name);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int notify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct berm_error err;
    int fd = -EBADF;

    if (name && connect_to(name, &fd, &err) < 0)
        log_warn("notify.failed", "error", err.message);
    unsetenv("NOTIFY_SOCKET");
    return fd;
}

void notify_tell(int fd, const char *state)
{
    if (fd >= 0 && send(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_warn("notify.failed", "state", state, "error", strerror(errno));
}

void notify_stopping(int fd, uint64_t most_ms)
{
    char state[64];

    snprintf(state, sizeof(state), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, (most_ms + STOP_SLACK_MS) * 1000);
    notify_tell(fd, state);
}
