// Removing trees that a hostile payload has made.
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volt.h"

// The test's own folder, which is the current one: Python gives it and removes it.
static void make_file(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    CHECK(close(file) == 0);
}

static void make_folder(const char *path) { CHECK(mkdir(path, 0700) == 0); }

static bool there(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

// `depth` folders one in another, each with a file beside it.
static void make_deep(const char *top, unsigned depth) {
    int folder = AT_FDCWD;
    for (unsigned i = 0; i < depth; i++) {
        const char *name = i ? "d" : top;
        CHECK(mkdirat(folder, name, 0700) == 0);
        int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(inner >= 0);
        if (folder >= 0) close(folder);
        folder = inner;
        int file = openat(folder, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        CHECK(file >= 0);
        close(file);
    }
    close(folder);
}

static int open_descriptors(void) {
    DIR *entries = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(entries)) count++;
    closedir(entries);
    return count;
}

TEST(nothing_there_is_no_error) { CHECK(remove_tree("nothing") == 0); }

TEST(a_tree_goes_with_all_that_is_in_it) {
    make_folder("t");
    make_folder("t/a");
    make_folder("t/a/b");
    make_folder("t/empty");
    make_file("t/f");
    make_file("t/a/f");
    make_file("t/a/b/f");
    CHECK(mkfifo("t/a/fifo", 0600) == 0);
    int before = open_descriptors();
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
    CHECK(open_descriptors() == before);
}

TEST(a_link_goes_and_what_it_names_stays) {
    make_folder("outside");
    make_file("outside/f");
    make_folder("t");
    make_folder("t/a");
    CHECK(symlink("../outside", "t/link") == 0);
    CHECK(symlink("../../outside", "t/a/link") == 0);
    CHECK(symlink("nowhere", "t/a/dangling") == 0);
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
    CHECK(there("outside/f"));
}

TEST(a_link_in_place_of_the_tree_is_an_error) {
    make_folder("outside");
    make_file("outside/f");
    CHECK(symlink("outside", "t") == 0);
    CHECK(remove_tree("t") == -1);
    CHECK(errno == ENOTDIR || errno == ELOOP);
    CHECK(there("outside/f"));
}

TEST(a_file_in_place_of_the_tree_is_an_error) {
    make_file("t");
    CHECK(remove_tree("t") == -1);
    CHECK(errno == ENOTDIR);
    CHECK(there("t"));
}

TEST(a_deep_tree_goes_with_few_descriptors) {
    const struct rlimit few = {32, 32};
    make_deep("t", 200);
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
}

// In memory, where there is such a place: on a disk it takes seconds to make.
TEST(a_tree_3000_deep_goes) {
    char folder[] = "/dev/shm/volt-test-XXXXXX";
    bool in_memory = mkdtemp(folder) && chdir(folder) == 0;
    make_deep("t", 3000);
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
    CHECK(!in_memory || rmdir(folder) == 0);
}

TEST(the_names_of_moved_folders_may_be_taken) {
    make_folder("t");
    make_file("t/.volt-0");
    make_folder("t/.volt-1");
    make_file("t/.volt-1/f");
    make_folder("t/.volt-2");
    CHECK(symlink(".volt-1", "t/.volt-3") == 0);
    make_deep("t/deep", 10);
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
}

TEST(a_wide_tree_goes) {
    char path[64];
    make_folder("t");
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "t/%d", i);
        make_deep(path, 1 + (unsigned)i % 4);
    }
    CHECK(remove_tree("t") == 0);
    CHECK(!there("t"));
}

// In a mount namespace of the test's own, which Python gives to each test with a mount in its name.
static void mount_privately(const char *source, const char *at, const char *type, unsigned long flags) {
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount(source, at, type, flags, NULL) == 0);
}

// By a descriptor: what lies above the mount may have moved.
static void check_mount_stays(const char *tree, const char *place) {
    make_folder(place);
    mount_privately("none", place, "tmpfs", 0);
    int mounted = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(mounted >= 0);
    CHECK(mkdirat(mounted, "f", 0700) == 0);
    CHECK(remove_tree(tree) == -1);
    CHECK(errno == EBUSY || errno == EXDEV);
    CHECK(faccessat(mounted, "f", F_OK, 0) == 0);
}

TEST(what_is_mounted_in_the_tree_is_not_entered) {
    make_folder("t");
    check_mount_stays("t", "t/m");
    make_folder("u");
    make_folder("u/a");
    check_mount_stays("u", "u/a/m");
    make_deep("v", 3);
    check_mount_stays("v", "v/d/d/m");
}

TEST(a_folder_of_the_same_file_system_mounted_there_is_not_entered) {
    make_folder("outside");
    make_file("outside/f");
    make_folder("t");
    make_folder("t/m");
    mount_privately("outside", "t/m", NULL, MS_BIND);
    CHECK(remove_tree("t") == -1);
    CHECK(errno == EBUSY || errno == EXDEV);
    CHECK(there("outside/f"));
}

TEST(the_tree_may_be_a_mount_itself_and_only_that_stays) {
    make_folder("t");
    mount_privately("none", "t", "tmpfs", 0);
    make_file("t/f");
    CHECK(remove_tree("t") == -1);
    CHECK(errno == EBUSY);
    CHECK(!there("t/f"));
}
