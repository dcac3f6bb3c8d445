// Signs of readiness: a piece of a line in a stream, and a file that lies in its own root.
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "search.h"
#include "watcher.h"

// Whether `text` is found when `stream` comes in pieces of `size` bytes.
static bool found_in(const char *text, const char *stream, size_t size) {
    static struct search search;
    CHECK(search_begin(&search, text));
    for (size_t left = strlen(stream); left && !search.found;) {
        size_t length = left < size ? left : size;
        search_in(&search, 0, stream, length);
        stream += length;
        left -= length;
    }
    return search.found;
}

TEST(a_text_is_found_wherever_the_stream_is_cut) {
    for (size_t size = 1; size < 24; size++) {
        CHECK(found_in("ready", "xready", size));
        CHECK(found_in("aabaaab", "aabaabaaab", size)); // its beginning comes again within it
        CHECK(found_in("aaa", "aa\naaa", size));
        CHECK(found_in("\xc3\xbc b", "\xc3\xc3\xbc b", size));
        CHECK(!found_in("ready", "read\ny reaady", size));
        CHECK(!found_in("aaa", "aa\naa", size));
    }
}

TEST(what_two_streams_have_is_not_put_together) {
    struct search search;
    CHECK(search_begin(&search, "up"));
    search_in(&search, 0, "u", 1);
    search_in(&search, 1, "p", 1);
    CHECK(!search.found);
    search_in(&search, 0, "p", 1);
    CHECK(search.found);
}

TEST(what_can_be_no_part_of_a_line_is_not_looked_for) {
    char text[SEARCH_LONGEST + 2];
    struct search search;
    memset(text, 'x', sizeof text);
    text[SEARCH_LONGEST + 1] = '\0';
    CHECK(!search_begin(&search, ""));
    CHECK(!search_begin(&search, "a\nb"));
    CHECK(!search_begin(&search, text));
    text[SEARCH_LONGEST] = '\0';
    CHECK(search_begin(&search, text));
    search_in(&search, 1, text, SEARCH_LONGEST - 1);
    CHECK(!search.found);
    search_in(&search, 1, text, SEARCH_LONGEST);
    CHECK(search.found);
}

static void make(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(file >= 0 && close(file) == 0);
}

TEST(a_file_is_looked_for_in_its_own_root_alone) {
    struct before found, again;
    CHECK(mkdir("root", 0755) == 0 && mkdir("root/in", 0755) == 0);
    make("outside");
    make("root/in/file");
    CHECK(symlink("/in/file", "root/absolute") == 0 && symlink("../../outside", "root/in/up") == 0);
    CHECK(symlink("loop", "root/loop") == 0 && mkfifo("root/fifo", 0644) == 0);
    int root = open("root", O_PATH | O_DIRECTORY);
    CHECK(look_at(root, "/in/file", &found) == 1 && found.inode != 0);
    CHECK(look_at(root, "/absolute", &again) == 1 && again.inode == found.inode);
    CHECK(look_at(root, "/in/up", &found) == 0 && found.inode == 0);
    CHECK(look_at(root, "/in/file/x", &found) == 0);
    CHECK(look_at(root, "/loop", &found) == -1);
    CHECK(look_at(root, "/fifo", &found) == -1);
    CHECK(look_at(root, "/in", &found) == -1);
    close(root);
}

TEST(a_file_that_is_written_anew_is_another) {
    struct before first, second;
    make("file");
    int root = open(".", O_PATH | O_DIRECTORY);
    CHECK(look_at(root, "/file", &first) == 1);
    CHECK(look_at(root, "/file", &second) == 1 && memcmp(&first, &second, sizeof first) == 0);
    usleep(20000); // the clock of a file system goes by jiffies
    make("file");
    CHECK(look_at(root, "/file", &second) == 1 && memcmp(&first, &second, sizeof first) != 0);
    close(root);
}
