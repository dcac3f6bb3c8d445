// Memory: pieces one behind the other, given back together, and all of it when the launch is over.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "volt.h"

#define ALIGNMENT 16u
#define STACK_SPAN (128u << 10) // bytes below the stack pointer that a launch may have written
#define STACK_MARGIN 1024u      // … and those that the call of madvise(2) itself needs

// Address space alone: a page that nothing was written to takes no memory.
#ifdef PIECES_APART // under sanitizers, by whichever compiler
#define BLOCK_LEAST 0u // a block for each piece: a byte beyond its end is noticed
static void *obtain(size_t size) { return calloc(1, size); }
static void give_back(void *memory, size_t size) { (void)size, free(memory); }
#else
#define BLOCK_LEAST (256u << 10)
static void *obtain(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
static void give_back(void *memory, size_t size) { munmap(memory, size); }
#endif

struct block {
    struct block *before;
    size_t size, used; // of memory
    _Alignas(ALIGNMENT) char memory[];
};

// Neither is in a page of its own: what is written to when the program begins lies together.
static struct block none;
static struct block *newest = &none;

static struct block *new_block(size_t least) {
    size_t size = least > BLOCK_LEAST ? least : BLOCK_LEAST;
    struct block *block = least > SIZE_MAX - sizeof *block ? NULL : obtain(sizeof *block + size);
    if (!block) {
        static const char message[] = "volt: out of memory\n";
        write_all(STDERR_FILENO, message, sizeof message - 1);
        _exit(VOLT_FAILED);
    }
    *block = (struct block){.before = newest, .size = size};
    return block;
}

// Zeroed memory, kept until forget_since() or forget_all().
void *keep(size_t size) {
    if (newest == &none || size > newest->size - newest->used) newest = new_block(size);
    void *piece = newest->memory + newest->used;
    size_t padded = size + (-size & (ALIGNMENT - 1));
    newest->used = padded < newest->size - newest->used ? newest->used + padded : newest->size;
    return piece;
}

static struct block *without(struct block *block) {
    struct block *before = block->before;
    give_back(block, sizeof *block + block->size);
    return before;
}

struct mark mark_memory(void) { return (struct mark){newest, newest->used}; }

// All that was kept since the mark.
void forget_since(struct mark mark) {
    while (newest != mark.block) newest = without(newest);
    if (newest->used > mark.used) memset(newest->memory + mark.used, 0, newest->used - mark.used);
    newest->used = mark.used;
}

void forget_all(void) {
    while (newest != &none) newest = without(newest);
}

// What is kept from here on lies apart, so that all before can be forgotten by forget_aside().
struct mark set_memory_aside(void) {
    struct mark all = mark_memory();
    newest = &none;
    return all;
}

void forget_aside(struct mark all) {
    while (all.block != &none) all.block = without(all.block);
}

// What deeper calls left on the stack, below the page of this one's own: nothing reads it again.
__attribute__((noinline)) void drop_stack(void) {
    char here;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)&here - STACK_MARGIN) / page * page;
    madvise((void *)(end - STACK_SPAN), STACK_SPAN, MADV_DONTNEED);
}

// The program's own code and constants, which end where the linker's __init_array_start begins its data: of what is
// needed again the page cache has a copy.
void drop_program(void) {
    extern const char __executable_start[], __init_array_start[];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), begin = (size_t)__executable_start / page * page;
    madvise((void *)begin, (size_t)__init_array_start / page * page - begin, MADV_DONTNEED);
}
