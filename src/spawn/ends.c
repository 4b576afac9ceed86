#include "ends.h"

#include "base/log.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int ends_pipe(int *ret_read, int *ret_write)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    *ret_read = fds[0];
    *ret_write = fds[1];
    return 0;
}

int end_wait_status(const siginfo_t *info)
{
    return info->si_code == CLD_EXITED ? W_EXITCODE(info->si_status, 0) : info->si_status;
}

/* Never waits, as the keeper has to notice its worker's death: a full pipe, of some thousand ends, loses one. */
void ends_tell(int write_fd, const siginfo_t *info)
{
    struct end_record record = { .pid = info->si_pid, .wait_status = end_wait_status(info) };

    if (RETRY_EINTR(write(write_fd, &record, sizeof(record))) < 0)
        log_warn("end_not_told", "pid", log_num(record.pid), "reason", strerror(errno));
}

static void keep(struct ends *e, const struct end_record *record)
{
    if (e->count == ENDS_KEPT) {
        memmove(e->records, e->records + 1, sizeof(e->records) - sizeof(e->records[0]));
        e->count--;
    }
    e->records[e->count++] = *record;
}

bool ends_take(struct ends *e, pid_t pid, int *ret_wait_status)
{
    struct end_record record;

    while (RETRY_EINTR(read(e->fd, &record, sizeof(record))) == (ssize_t)sizeof(record))
        keep(e, &record);
    /* From the newest: the pid of an older one may have been given again. */
    for (uint32_t i = e->count; i-- > 0;) {
        if (e->records[i].pid != pid)
            continue;
        *ret_wait_status = e->records[i].wait_status;
        e->count--;
        memmove(e->records + i, e->records + i + 1, (e->count - i) * sizeof(e->records[0]));
        return true;
    }
    return false;
}
