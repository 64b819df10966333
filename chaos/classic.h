/* classic.h - `ai-memory-chaos classic`: what chaos/run-chaos.sh runs. */
#ifndef AIM_CHAOS_CLASSIC_H
#define AIM_CHAOS_CLASSIC_H

/* --cycles N --writes M --fault CLASS --verbose; WORKDIR, AI_MEMORY_BIN, N0_PORT, N1_PORT, N2_PORT. Exit: 0 when all
 * cycles ran, whatever they found (the summary tells); 1 when they could not. */
int classic_main(int argc, char **argv);

#endif
