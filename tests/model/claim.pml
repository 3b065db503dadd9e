/*
 * Claim, return, retirement and deletion of one owner's KeyPackages of one
 * ciphersuite. What is checked, at the step that could break it:
 *
 *   I1  a package (its bytes, not its event) handed out as one-time goes to one
 *       request only, and bytes once exposed as reserve are never one-time again
 *   I2  a claim, return, retirement or removal never takes the last valid package;
 *       only the owner (or time) does
 *   I3  a request is acknowledged only after its outcome is recorded
 *   I4  the same trigger, arriving again or twice at once, claims once
 *   JOIN     while a requester has an open delivery he claims only what is missing
 *   DELETED  a package that its owner deleted is not claimed
 *
 * How a claim is built, and what this model therefore treats as one step:
 *
 *   1. a query outside any transaction lists the stock            (one step)
 *   2. ledger, tombstones and open deliveries are read and the
 *      order of use decides                                       (one step)
 *   3. a transaction reads again by id what the decision only relies on, writes
 *      what it changes under preconditions, one of which may be
 *      that something does not exist, and commits                 (one step)
 *
 * Step 3 is one step because Firestore's transactions are serialisable, reads of
 * absent documents included. Between the steps anything may happen, also a crash:
 * an instance may give up anywhere, and a trigger may arrive at any time and any
 * number of times, so redelivery, a lost answer to a commit, and two instances on
 * the same trigger need no bound. A delivery is only "open" here (not exposed yet,
 * may be returned) or closed; delivery.pml decides which of the two is right.
 *
 * A transaction that holds several units decides them one after another, each on
 * the effects of those before: the same as two step 3 with nothing in between.
 */

#ifdef TWINS            /* the third event carries the bytes of the first */
#define BYTES(i) ((i) % 2)
#else
#define BYTES(i) (i)
#endif

#ifdef MARKED           /* the third package is marked last-resort */
#define MARK(i) ((i) == 2)
#else
#define MARK(i) 0
#endif

#define N 3             /* events, in order of created_at */
#ifndef REQUESTS
#define REQUESTS 2      /* 2 or 3 */
#endif
#define CLAIMERS 2      /* instances of the claim function */
#ifndef EXPIRERS
#define EXPIRERS 1      /* instances of the scheduled function, up to 2 */
#endif
#ifndef REBROADCASTS
#define REBROADCASTS 1
#endif
#ifndef DELETIONS
#define DELETIONS 1
#endif
#define NONE 7

/* Requests 0 and 2 come from one requester, request 1 from another. */
#define REQUESTER(r) ((r) % 2)
#define MIN(r) ((r) == 0 -> 2 : 1)

/* Ledger: absent, exposed as reserve, or handed out once (naming the delivery). */
#define ABSENT 0
#define SHARED 1
#define ONE_TIME(r, i) (2 + (r) * N + (i))

/* Deliveries {request}_{event}; 0 is none, or not open any more. */
#define OPEN_ONE_TIME 1
#define OPEN_RESERVE 2
#define DELIVERY(r, i) delivery[(r) * N + (i)]
#define OPEN(r, i) (DELIVERY(r, i) == OPEN_ONE_TIME || DELIVERY(r, i) == OPEN_RESERVE)

bit stock[N];           /* the package document exists */
bit tombstone[N];
bit published[N];       /* has ever been published, so anyone may do it again */
byte ledger[N];         /* by bytes */
byte delivery[REQUESTS * N];
bit record[REQUESTS];   /* claim record: the authority on "has this been done" */

/* A precondition on a document's update time holds unless the document was written
 * since it was read. One bit per reader and document says exactly that. */
byte intact[CLAIMERS + 2];
bit pairIntact[CLAIMERS];
byte requestOf[CLAIMERS] = NONE; /* what each instance works on */

byte rebroadcasts = REBROADCASTS;
byte deletions = DELETIONS;

/* Ghosts: what the world has seen, whatever the ledger says. */
byte holders[N];        /* by bytes: hand-outs as one-time that were not returned */
bit exposed[N];         /* by bytes: handed out as reserve */

hidden byte I1, I2, I3, I4, JOIN, DELETED;
#define CHECK(name, condition) name = (condition); assert(name); name = 0

hidden byte i, j, class, last, hasReserve, need;
hidden byte fits, before, after;
hidden byte good[N], first[N];

#define r requestOf[me]
#ifdef M_NO_RECORD
#define UNDONE(request) 1
#else
#define UNDONE(request) (!record[request])
#endif
#ifdef M_ACK_EARLY
#define ACKNOWLEDGED 1
#else
#define ACKNOWLEDGED record[r]
#endif

#define JOINABLE(d) \
	((d) / N != r && REQUESTER((d) / N) == REQUESTER(r) && OPEN((d) / N, (d) % N) && !tombstone[(d) % N])
#define BIT(i) (1 << (i))
#define HAS(set, i) (((set) >> (i)) & 1)
#define VALID(i) (stock[i] && !tombstone[i] && ledger[BYTES(i)] <= SHARED)
#define EXPOSED(i) (VALID(i) && ledger[BYTES(i)] == SHARED)
#define UNEXPOSED(i) (VALID(i) && ledger[BYTES(i)] == ABSENT)
#define CLASS(i) (MARK(i) * 2 + (ledger[BYTES(i)] == SHARED))
#define SOME_VALID (VALID(0) || VALID(1) || VALID(2))

/* written(i): every reader's precondition on document i fails from now on. */
inline written(d) {
	intact[0] = intact[0] & (7 - BIT(d));
	intact[1] = intact[1] & (7 - BIT(d));
	intact[2] = intact[2] & (7 - BIT(d));
	intact[3] = intact[3] & (7 - BIT(d))
}

inline forget() {
	i = 0; j = 0; class = 0; last = 0; hasReserve = 0; need = 0;
	fits = 0; before = 0; after = 0;
	good[0] = 0; good[1] = 0; good[2] = 0;
	first[0] = 0; first[1] = 0; first[2] = 0;
}

/*
 * decide fills grant (consumed as one-time), reserve, behind (the package that a
 * consuming claim relies on to stay), remove, and join. The order of use is
 * unexposed unmarked, exposed unmarked, unexposed marked, exposed marked; oldest
 * first in each. Twins count once. The last in the order is the reserve.
 */
inline decide() {
	for (i : 0 .. N - 1) {
		good[i] = HAS(seen, i) && !tombstone[i];
#ifndef M_NO_LEDGER
		good[i] = good[i] && ledger[BYTES(i)] <= SHARED;
		if
		:: HAS(seen, i) && !good[i] -> remove = remove | BIT(i)
		:: else
		fi;
#endif
		first[i] = good[i];
#ifndef M_TWINS_COUNT_TWICE
		for (j : 0 .. N - 1) {
			if
			:: j < i && good[j] && BYTES(j) == BYTES(i) -> first[i] = 0
			:: else
			fi
		}
#endif
	}
	need = MIN(r);
	for (i : 0 .. REQUESTS * N - 1) {
		if
		:: JOINABLE(i) && need > 0 ->
			join = join | BIT(i);
			need--;
			if
			:: delivery[i] == OPEN_RESERVE -> hasReserve = 1 /* one reserve per unit */
			:: else
			fi
		:: else
		fi
	}
	last = NONE;
	for (class : 0 .. 3) {
		for (i : 0 .. N - 1) {
			if
			:: first[i] && class == CLASS(i) -> last = i
			:: else
			fi
		}
	}
	for (class : 0 .. 3) {
		for (i : 0 .. N - 1) {
			if
			:: first[i] && class == CLASS(i) ->
				if
				:: i == last && need > 0 && !hasReserve -> reserve = i; behind = i
				:: i != last && need > 0 && ledger[BYTES(i)] == ABSENT ->
					grant = grant | BIT(i);
					need--
				:: need == 0 && grant && behind == NONE -> behind = i
				:: i == last && need > 0 && hasReserve && grant && behind == NONE -> behind = i
				:: else
				fi
			:: else
			fi
		}
	}
	forget()
}

/* verify: what the transaction reads again, and the preconditions of its writes. */
inline verify() {
	fits = 1;
#ifndef M_NO_RECORD
	fits = fits && !record[r];
#endif
	for (i : 0 .. N - 1) {
		if
		:: HAS(grant, i) ->
			fits = fits && HAS(intact[me], i);       /* delete under its update time */
#ifndef M_NO_LEDGER
			fits = fits && ledger[BYTES(i)] == ABSENT; /* create if absent */
#endif
#ifndef M_NO_TOMBSTONE
			fits = fits && !tombstone[i];          /* delete if absent */
#endif
		:: else
		fi;
		if
		:: HAS(remove, i) ->
			fits = fits && HAS(intact[me], i);
#ifndef M_REMOVE_BLINDLY
			/* The reason is read again; the update time does not protect. A
			 * return over a re-broadcast writes the same content, and a write
			 * that changes nothing keeps the update time. A return also makes
			 * the package's twins valid without writing them. */
			fits = fits && (tombstone[i] || ledger[BYTES(i)] > SHARED);
#endif
		:: else
		fi
	}
	if
	:: reserve != NONE ->
		fits = fits && stock[reserve] && !tombstone[reserve] && ledger[BYTES(reserve)] <= SHARED
	:: else
	fi;
#ifndef M_NOTHING_STAYS
	if
	:: behind != NONE && reserve == NONE -> fits = fits && VALID(behind)
	:: else
	fi;
#endif
	for (i : 0 .. REQUESTS * N - 1) {
		if
		:: HAS(join, i) -> fits = fits && OPEN(i / N, i % N) && !tombstone[i % N]
		:: else
		fi
	}
#ifndef M_NO_PAIR
	fits = fits && pairIntact[me]
#endif
}

inline commit() {
	before = SOME_VALID;
	CHECK(I4, !record[r]);
	record[r] = 1;
	for (i : 0 .. REQUESTS * N - 1) {
		if
		:: (grant || reserve != NONE) && JOINABLE(i) -> CHECK(JOIN, HAS(join, i))
		:: else
		fi
	}
	for (i : 0 .. N - 1) {
		if
		:: HAS(grant, i) ->
			CHECK(DELETED, !tombstone[i]);
			CHECK(I1, holders[BYTES(i)] == 0 && !exposed[BYTES(i)]);
			holders[BYTES(i)]++;
			ledger[BYTES(i)] = ONE_TIME(r, i);
			DELIVERY(r, i) = OPEN_ONE_TIME
		:: else
		fi;
		if
		:: HAS(grant, i) || HAS(remove, i) -> stock[i] = 0; written(i)
		:: else
		fi
	}
	if
	:: reserve != NONE ->
		CHECK(DELETED, !tombstone[reserve]);
		CHECK(I1, holders[BYTES(reserve)] == 0);
		exposed[BYTES(reserve)] = 1;
#ifndef M_NO_RESERVE_ENTRY
		ledger[BYTES(reserve)] = SHARED;
#endif
		DELIVERY(r, reserve) = OPEN_RESERVE
	:: else
	fi;
	pairIntact[me] = 0;
	if
	:: requestOf[1 - me] != NONE && REQUESTER(requestOf[1 - me]) == REQUESTER(r) -> pairIntact[1 - me] = 0
	:: else
	fi;
	after = SOME_VALID;
	CHECK(I2, !before || after)
}

proctype claimer(byte me) {
	byte seen, grant, remove, reserve = NONE, behind = NONE;
	short join;

start:	/* The query. A request with a record is answered from it: nothing to do. */
	atomic {
		if
		:: UNDONE(0) -> r = 0
		:: UNDONE(1) -> r = 1
#if REQUESTS > 2
		:: UNDONE(2) -> r = 2
#endif
		fi;
		seen = stock[0] + 2 * stock[1] + 4 * stock[2];
		intact[me] = seen;
		pairIntact[me] = 1
	}
	/* The other reads, and the decision. */
	d_step {
		decide();
		seen = 0;
		intact[me] = intact[me] & (grant | remove)
	}
	/* The transaction, or a crash. A lost answer to the commit is the same trigger
	 * once more, and so is a transaction that found its decision contradicted. */
	atomic {
		if
		:: d_step { verify(); if :: fits -> commit() :: else fi; forget() }
		:: CHECK(I3, record[r] || !ACKNOWLEDGED)
		fi;
		d_step {
			grant = 0; remove = 0; join = 0; reserve = NONE; behind = NONE;
			intact[me] = 0; pairIntact[me] = 0; r = NONE
		}
	}
	goto start
}

/* The scheduled function: return, burn (closed here), retirement. A return is one
 * transaction under the delivery's update time that reads all it relies on. */
proctype expire(byte me) {
	byte old = NONE;
	do
	:: atomic { if
	   :: OPEN(0, 0) -> i = 0
	   :: OPEN(0, 1) -> i = 1
	   :: OPEN(0, 2) -> i = 2
	   :: OPEN(1, 0) -> i = 3
	   :: OPEN(1, 1) -> i = 4
	   :: OPEN(1, 2) -> i = 5
#if REQUESTS > 2
	   :: OPEN(2, 0) -> i = 6
	   :: OPEN(2, 1) -> i = 7
	   :: OPEN(2, 2) -> i = 8
#endif
	   fi;
	   if
	   :: delivery[i] == OPEN_ONE_TIME && !tombstone[i % N] -> d_step {
		delivery[i] = 0;
		if
		:: !stock[i % N] -> written(i % N)
		:: else /* same content over a re-broadcast: the update time stays */
		fi;
		stock[i % N] = 1;
		if
		:: ledger[BYTES(i % N)] == ONE_TIME(i / N, i % N) -> ledger[BYTES(i % N)] = ABSENT
		:: else
		fi;
		holders[BYTES(i % N)]-- }
	   :: delivery[i] = 0 /* delivered, burned, or a reserve */
	   fi;
	   i = 0 }
#ifndef TWINS
	:: atomic { old == NONE -> /* the exposed one, and two others that are not */
	   if
	   :: EXPOSED(0) && UNEXPOSED(1) && UNEXPOSED(2) -> old = 0
	   :: EXPOSED(1) && UNEXPOSED(0) && UNEXPOSED(2) -> old = 1
	   :: EXPOSED(2) && UNEXPOSED(0) && UNEXPOSED(1) && !MARK(2) -> old = 2
	   fi;
	   intact[me] = BIT(old) }
	:: d_step { old != NONE ->
	   before = SOME_VALID;
	   fits = HAS(intact[me], old);
#ifndef M_RETIRE_BLINDLY
	   for (i : 0 .. N - 1) {
		if
		:: i != old -> fits = fits && UNEXPOSED(i)
		:: else
		fi
	   }
#endif
	   if
	   :: fits -> stock[old] = 0; written(old)
	   :: else
	   fi;
	   after = SOME_VALID;
	   CHECK(I2, !before || after);
	   old = NONE; intact[me] = 0;
	   forget() }
#endif
	od
}

/* The owner publishes; anyone re-broadcasts what was published; the owner deletes,
 * which is two steps of the relay: the tombstone, then the document. */
proctype world() {
	byte gone = NONE;
	do
	:: atomic { if
	   :: !published[0] -> i = 0
	   :: !published[1] -> i = 1
	   :: !published[2] -> i = 2
	   :: published[0] && !stock[0] && rebroadcasts -> rebroadcasts--; i = 0
	   :: published[1] && !stock[1] && rebroadcasts -> rebroadcasts--; i = 1
	   :: published[2] && !stock[2] && rebroadcasts -> rebroadcasts--; i = 2
	   fi;
	   published[i] = 1; stock[i] = 1; written(i); i = 0 }
	:: atomic { gone == NONE && deletions > 0 ->
	   if
	   :: published[0] -> gone = 0
	   :: published[1] -> gone = 1
	   :: published[2] -> gone = 2
	   fi;
	   deletions--; tombstone[gone] = 1 }
	:: d_step { gone != NONE -> stock[gone] = 0; written(gone); gone = NONE }
	od
}

init {
	atomic {
		run claimer(0); run claimer(1); run expire(2);
#if EXPIRERS > 1
		run expire(3);
#endif
		run world()
	}
}
