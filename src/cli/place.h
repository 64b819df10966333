/* place.h - the namespace of where a command is run. */
#ifndef AIM_CLI_PLACE_H
#define AIM_CLI_PLACE_H

#define PLACE_TEXT 520

/* The name of the repository (its remote "origin"), else of the current folder, made a valid namespace; "global" when
 * there is neither. Runs git, two seconds at most. */
void place_namespace(char out[PLACE_TEXT]);
/* The repository's name in a remote's address: what is behind the last '/' (or ':') without ".git"; "" when there is
 * none. */
void place_of_remote(const char *url, char out[PLACE_TEXT]);

#endif
