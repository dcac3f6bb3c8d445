// The two steps that live beside the program's own main: no input is ever performed here.
#include "volt.h"
#include "table.h"

int do_lifeline(struct context *context, const struct step_lifeline *step) {
    (void)context, (void)step;
    return -1;
}

int do_time_limit(struct context *context, const struct step_time_limit *step) {
    (void)context, (void)step;
    return -1;
}
