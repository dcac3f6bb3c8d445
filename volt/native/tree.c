// Removing a tree: no symbolic link is followed, no other mount is entered.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volt.h"

#define DEEPEST 1000 // descriptors are held on the way down

static int remove_below(int folder, dev_t device, unsigned depth);

static int remove_entry(int folder, const char *name, dev_t device, unsigned depth) {
    struct stat status;
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -1;
    int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) return -1;
    if (fstat(inner, &status) < 0 || status.st_dev != device) {
        errno = EXDEV;
        close_held(&inner);
        return -1;
    }
    if (remove_below(inner, device, depth + 1) < 0) return -1;
    return unlinkat(folder, name, AT_REMOVEDIR);
}

// Empties `folder` and closes it.
static int remove_below(int folder, dev_t device, unsigned depth) {
    DIR *entries = depth < DEEPEST ? fdopendir(folder) : NULL;
    if (!entries) {
        if (depth >= DEEPEST) errno = ELOOP;
        close_held(&folder);
        return -1;
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(entries)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = remove_entry(dirfd(entries), entry->d_name, device, depth);
    int error = errno;
    closedir(entries);
    errno = error;
    return result;
}

// The folder and all that is in it. Nothing there is no error.
int remove_tree(const char *path) {
    struct stat status;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) return errno == ENOENT ? 0 : -1;
    if (fstat(folder, &status) < 0) {
        close_held(&folder);
        return -1;
    }
    if (remove_below(folder, status.st_dev, 0) < 0) return -1;
    return rmdir(path);
}
