
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_BANNED_H_INCLUDED_
#define _MESH_BANNED_H_INCLUDED_

/*
 * Calls that this tree does without become compile errors.  Included last by
 * mesh_core.h, after the headers that declare them: a macro of the same name
 * would break the declarations.
 */

#define MESH_BANNED(name)  name##_is_banned_see_mesh_banned_h


/* write past the end of what they are given */

#undef strcpy
#define strcpy(d, s)       MESH_BANNED(strcpy)
#undef strcat
#define strcat(d, s)       MESH_BANNED(strcat)
#undef stpcpy
#define stpcpy(d, s)       MESH_BANNED(stpcpy)
#undef sprintf
#define sprintf(...)       MESH_BANNED(sprintf)
#undef vsprintf
#define vsprintf(...)      MESH_BANNED(vsprintf)

/* leave strings without an end: use snprintf */

#undef strncpy
#define strncpy(d, s, n)   MESH_BANNED(strncpy)
#undef strncat
#define strncat(d, s, n)   MESH_BANNED(strncat)

/* say nothing about text that is no number: use strtoll */

#undef atoi
#define atoi(s)            MESH_BANNED(atoi)
#undef atol
#define atol(s)            MESH_BANNED(atol)

/* keep their result in one place for all callers: use .._r */

#undef strtok
#define strtok(s, d)       MESH_BANNED(strtok)
#undef gmtime
#define gmtime(t)          MESH_BANNED(gmtime)
#undef localtime
#define localtime(t)       MESH_BANNED(localtime)
#undef ctime
#define ctime(t)           MESH_BANNED(ctime)
#undef asctime
#define asctime(t)         MESH_BANNED(asctime)

/* grows the stack by what a stranger says */

#undef alloca
#define alloca(n)          MESH_BANNED(alloca)


#endif /* _MESH_BANNED_H_INCLUDED_ */
