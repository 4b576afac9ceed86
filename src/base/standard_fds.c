#include "standard_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int open_standard_fds(void)
{
    /* The lowest free number is taken; an O_PATH descriptor can be neither read nor written. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_PATH) < 0)
            return -1;
    return 0;
}
