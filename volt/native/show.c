// Steps of the init that show the supervisor where the payload's readiness can be seen.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"
#include "watcher.h"

#define NOTICE_SOCKET "socket"

static int show(struct context *context, const void *body, uint32_t length, int descriptor) {
    int result = descriptor < 0 ? -1 : send_frame(context->control, FRAME_WATCH, body, length, descriptor);
    close_held(&descriptor);
    return result;
}

// By the folder itself, whose path the image could have laid out.
static int bind_in(int folder) {
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = NOTICE_SOCKET};
    int one = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = one >= 0 && fchdir(folder) == 0 && bind(one, (const struct sockaddr *)&address, sizeof address) == 0 &&
                 fchmodat(folder, NOTICE_SOCKET, 0666, 0) == 0;
    int error = errno;
    if (chdir("/") < 0 || !bound) close_held(&one);
    errno = error;
    return one;
}

int do_offer_socket(struct context *context, const struct step_offer_socket *step) {
    char mode[] = "mode=0755", size[] = "size=4k";
    char *options[] = {mode, size, NULL};
    const uint64_t attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    int folder = make_filesystem(context, "tmpfs", options, attrs);
    if (folder < 0) return -1;
    const struct mount_attr fixed = {.attr_set = MOUNT_ATTR_RDONLY}; // what is sent to a socket changes no file
    int one = bind_in(folder), result = one < 0 ? -1 : k_mount_setattr(folder, 0, &fixed);
    if (result == 0) result = attach_inside(context, folder, step->path);
    close_held(&folder);
    if (result == 0) return show(context, NULL, 0, one);
    close_held(&one);
    return result;
}

int do_show_root(struct context *context, const struct step_show_root *step) {
    struct before before = {0};
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) look_at(root, step->path, &before);
    return show(context, &before, sizeof before, root);
}

int do_show_network(struct context *context, const struct step_show_network *step) {
    (void)step;
    return show(context, NULL, 0, open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
}
