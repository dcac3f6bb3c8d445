// Four threads, one barrier, a sum: what libpthread needs of the kernel.
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4 };

static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;

static void *add(void *number) {
    pthread_barrier_wait(&barrier);
    pthread_mutex_lock(&lock);
    sum += (long)number;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, add, (void *)(i + 1))) return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("sum %ld of %d threads\n", sum, THREADS);
    return sum != 10;
}
