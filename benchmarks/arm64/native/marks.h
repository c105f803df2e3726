/* What the runner (guest) and the counter (plugin in the emulator) say to each other. */
#ifndef MARKS_H
#define MARKS_H

/* A system call that Linux does not have on any processor, so it does nothing but be seen. */
#define MARK_CALL 7777

/* Its first argument: the clock is wanted, or the number of a point of the program. */
#define MARK_CLOCK 0
#define MARK_SESSION 1 /* the session is about to be made */
#define MARK_RUN 2     /* a run is about to begin; once before each */
#define MARK_END 3     /* the session, or a run, is done; once after each */

#define CLOCK_BYTES 4096

#endif
