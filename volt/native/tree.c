// Removing a tree, however deep: no symbolic link is followed, no other mount is entered.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volt.h"

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct removal {
    int top;
    dev_t device;
    unsigned moved; // folders so far, each under a name of its own
};

// What is done with one entry: 0 it is gone, 1 it is worth another look, -1 an error.
typedef int visit(struct removal *removal, int folder, const char *name);

// Unlinks a file, and a folder when it is empty: 0 gone, 1 there is something in it, -1 an error.
static int remove_entry(int folder, const char *name) {
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR) return -1;
    if (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
    return errno == ENOTEMPTY || errno == EEXIST ? 1 : -1;
}

// Visits every entry of `folder` and closes it. The most that a visit returned; -1 ends it.
static int visit_all(struct removal *removal, int folder, visit *visit_one) {
    DIR *entries = folder < 0 ? NULL : fdopendir(folder);
    struct dirent *entry;
    int result = 0;
    if (!entries) {
        close_held(&folder);
        return -1;
    }
    while (result >= 0 && (errno = 0, entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int one = visit_one(removal, folder, entry->d_name);
        if (one != 0) result = one;
    }
    int error = errno;
    closedir(entries);
    errno = error;
    return result >= 0 && error ? -1 : result;
}

// A folder with something in it comes to lie in the top one: so three descriptors are enough for any depth.
static int move_up(struct removal *removal, int folder, const char *name) {
    char free_name[32];
    int left = remove_entry(folder, name);
    if (left <= 0) return left;
    do {
        format_into(free_name, sizeof free_name, ".volt-%u", removal->moved++);
        if (renameat(folder, name, removal->top, free_name) == 0 || errno == ENOENT) return 0;
    } while (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR); // the name is taken
    return -1;
}

// Empties one folder of the top.
static int flatten(struct removal *removal, int top, const char *name) {
    struct stat status;
    int left = remove_entry(top, name);
    if (left <= 0) return left;
    int folder = openat(top, name, FOLDER);
    if (folder < 0) return errno == ENOENT ? 0 : -1;
    if (fstat(folder, &status) < 0 || status.st_dev != removal->device) {
        errno = EXDEV;
        close_held(&folder);
        return -1;
    }
    if (visit_all(removal, folder, move_up) < 0) return -1;
    // Listing a folder while others move into it may miss them.
    return remove_entry(top, name) < 0 ? -1 : 1;
}

// The folder and all that is in it. Nothing there is no error.
int remove_tree(const char *path) {
    struct stat status;
    int left = -1, top = open(path, FOLDER);
    if (top < 0) return errno == ENOENT ? 0 : -1;
    if (fstat(top, &status) == 0) {
        struct removal removal = {.top = top, .device = status.st_dev};
        do left = visit_all(&removal, openat(top, ".", FOLDER), flatten);
        while (left > 0);
    }
    close_held(&top);
    if (left < 0) return -1;
    return rmdir(path) == 0 || errno == ENOENT ? 0 : -1;
}
