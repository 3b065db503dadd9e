/*
 * Requests of one requester for one owner by REQ, and 447s that follow: two
 * connections at two instances, two different 447s, the owner who deletes, and time.
 * The pair's document names the last REQ claim that granted something; a repetition
 * writes nothing, so it is only read.
 *
 *   AGAIN    while that claim is younger than a minute and its package not deleted,
 *            no REQ takes another package
 *   MINUTE   and no longer: what a REQ repeats was granted within the minute
 *   ONCE     one 447 at most joins what a REQ was given
 *   DELETED  no 447 joins a package with a tombstone
 *
 * Reading and deciding is one step, committing another; between them anything may
 * happen, also a crash. Only the number of packages is bounded.
 */

#define PACKAGES 3
#define NONE 7

byte last = NONE;       /* the pair's document: package of the last REQ claim, */
bit joined;             /* and whether a 447 has joined it */
bit young;              /* the claim is younger than a minute */
byte next;              /* the next package in stock */
bit tombstone[PACKAGES];
bit claimed[2];         /* records of the two 447s */

/* Instances 0 and 1 serve REQs, 2 and 3 a 447 each. */
bit pairIntact[4];

/* Ghost: how many 447s joined what a REQ was given. */
byte joins[PACKAGES];

hidden byte AGAIN, MINUTE, ONCE, DELETED;
#define CHECK(name, condition) name = (condition); assert(name); name = 0

#define GOOD (last != NONE && young && !tombstone[last])
#ifdef M_AGE_UNCOMPARED
#define REPEATABLE (last != NONE && !tombstone[last])
#else
#define REPEATABLE GOOD
#endif
#ifdef M_NO_PAIR
#define FITS true
#else
#define FITS pairIntact[me]
#endif
#ifdef M_TOMBSTONE_UNREAD
#define UNDELETED(i) true
#else
#define UNDELETED(i) !tombstone[i]
#endif

inline written() { pairIntact[0] = 0; pairIntact[1] = 0; pairIntact[2] = 0; pairIntact[3] = 0 }

proctype req(byte me) {
	do
	:: atomic { REPEATABLE -> CHECK(MINUTE, young) }
	:: atomic { !REPEATABLE && next < PACKAGES -> pairIntact[me] = 1 };
	   atomic {
		if
		:: FITS && next < PACKAGES ->
			CHECK(AGAIN, !GOOD);
			last = next; next++; joined = 0; young = 1; written()
		:: true        /* crash, or a lost race: it is asked again */
		fi;
		pairIntact[me] = 0 }
	od
}

proctype ask(byte me) {
	byte join = NONE;
	do
	:: atomic { !claimed[me - 2] ->
		pairIntact[me] = 1;
		if
		:: GOOD && !joined -> join = last
		:: else
		fi };
	   atomic {
		if
		:: join != NONE && FITS && UNDELETED(join) && !claimed[me - 2] ->
			CHECK(DELETED, !tombstone[join]);
			joins[join]++;
			CHECK(ONCE, joins[join] == 1);
			claimed[me - 2] = 1;
#ifndef M_JOIN_UNNOTED
			joined = 1;
#endif
			written()
		:: join == NONE && FITS && next < PACKAGES && !claimed[me - 2] ->
			next++; claimed[me - 2] = 1; written()
		:: true
		fi;
		pairIntact[me] = 0; join = NONE }
	od
}

proctype time() { do :: young -> young = 0 od }

proctype owner() {
	do
	:: next > 0 && !tombstone[0] -> tombstone[0] = 1
	:: next > 1 && !tombstone[1] -> tombstone[1] = 1
	:: next > 2 && !tombstone[2] -> tombstone[2] = 1
	od
}

init { atomic { run req(0); run req(1); run ask(2); run ask(3); run time(); run owner() } }
