/*
 * The life of one pending delivery of a one-time KeyPackage: pushes by two
 * instances of the deliver function, the relay, expiry, deletion by the owner. The
 * first of them may be where the requester's session is: then its claim created the
 * delivery `sending', and the first push begins with the claim's own transaction.
 *
 *   I1  a package that returned to stock was not and will not be seen by the
 *       requester it was claimed for
 *   I3  the delivery ends delivered or expired, a terminal state never changes, and
 *       an answer that comes within its lease always finds the delivery open
 *   I5  a package returns exactly if every push was recorded as a definite negative,
 *       none of them parking, and it is not deleted; and what is recorded as a
 *       negative of a push is that push's own answer
 *   I8  nothing reaches a session after expires_at
 *   DELETED  no push of a package with a tombstone starts
 *
 * Time is a clock that moves at any moment, and every reading of it may be one tick
 * old: that is the skew between instances, and the pause between reading the clock
 * and acting on it besides. A message may arrive at any time and any number of
 * times, and a worker may stop for good anywhere: I4 is that all of the above holds
 * nevertheless. Only the number of pushes is bounded.
 *
 * A lease names its holder by a word of its own for each push. Whoever does not learn
 * whether the write before his push succeeded reads it again, and goes on if it names
 * him. In the model the word is the number of the push together with `wrote': that
 * this worker's write was the one that gave the delivery this number.
 */

#define EXPIRES 3       /* expires_at */
#define LEASE 2         /* push timeout + margin, to a relay */
#define LOCAL_LEASE 1   /* the same, into a session of the same process */
#ifdef M_NO_FENCE
#define FENCE 0
#else
#define FENCE 3         /* longer than the longest lease */
#endif
#define END (EXPIRES + FENCE)
#define PUSHES 3

#define PENDING 0
#define SENDING 1
#define DELIVERED 2
#define EXPIRED 3
#define TERMINAL (state >= DELIVERED)

/* The delivery document. */
byte state, pushNo, leaseUntil;
bit born;               /* it exists: claimed by the first worker, or by a trigger */
bit exposureUnknown, parked;
bit tombstone;          /* of its package */

byte now;

/* Answers to a push. SILENT: none yet. */
#define SILENT 0
#define SENT 1          /* delivered */
#define NEGATIVE 2      /* no_session, no_subscription, failed before sending, ... */
#define PARKING 3       /* unknown_event, rejected */
#define UNKNOWN 4       /* unknown, timeout, 5xx, broken connection */

/* By push number, which is the order of the `sending` writes. */
bit wire[PUSHES + 1];   /* posted, not yet handled by the relay */
byte answer[PUSHES + 1];

/* Ghosts. Recorded means: as a definite negative, and not a parking one. */
bit exposed, returned;
bit lastRecorded = 1, earlierRecorded = 1;
byte pushes;

hidden byte I1, I3, I5, I8, DELETED;
#define CHECK(name, condition) name = (condition); assert(name); name = 0

/* -DWITHOUT_I5=true shows what harm a broken rule does, not only that it is broken. */
#ifndef WITHOUT_I5
#define WITHOUT_I5 false
#endif

inline clock(t) {
	if
	:: t = now
	:: now > 0 -> t = now - 1
	fi
}

/* Back to pending without raising the flag says: this push was a definite negative. */
inline backToPending() {
	CHECK(I3, !TERMINAL);
	CHECK(I5, WITHOUT_I5 || state == PENDING || answer[pushNo] == NEGATIVE || answer[pushNo] == PARKING);
	lastRecorded = (answer[pushNo] == NEGATIVE);
	state = PENDING;
	leaseUntil = 0
}

#ifdef M_STATE_UNCHECKED
#define OWN (pushNo == mine)
#elif defined(M_PUSH_NO_UNCHECKED)
#define OWN (state == SENDING)
#else
#define OWN (state == SENDING && pushNo == mine)
#endif
#ifdef M_PARK_ON_OTHER
#define OWN_TO_PARK (state == SENDING)
#else
#define OWN_TO_PARK OWN
#endif

/* record: the transaction that writes what came of push `mine`. The number says whose
 * push it is only because its writer saw the `sending` write succeed: after an unclear
 * error the same number may be another's, so then nothing is recorded. */
inline record() {
	CHECK(I3, !(mine && now < until && state == EXPIRED));
	if
	:: got == SENT && !TERMINAL -> state = DELIVERED
#ifdef M_DELIVERED_OVER_EXPIRED
	:: got == SENT && state == EXPIRED -> CHECK(I3, false)
#endif
	:: got == NEGATIVE && OWN -> backToPending()
	:: got == PARKING && OWN_TO_PARK -> backToPending(); parked = 1
	:: got == UNKNOWN && !TERMINAL ->
		exposureUnknown = 1;
		if
		:: OWN -> state = PENDING; leaseUntil = 0
		:: else
		fi
	:: else
	fi
}

#define PUSHABLE \
	((state == PENDING && !parked || state == SENDING && leaseUntil <= t) && t < EXPIRES && pushes < PUSHES)
#ifdef M_TOMBSTONE_UNREAD
#define UNDELETED true
#else
#define UNDELETED !tombstone
#endif

#define STOP atomic { t = 0; mine = 0; until = 0; wrote = 0; got = SILENT; goto idle }

#ifdef M_HOLDER_UNCOMPARED      /* the number alone says whose push it is */
#define HELD (state == SENDING && pushNo == mine && t < leaseUntil)
#else
#define HELD (state == SENDING && pushNo == mine && t < leaseUntil && wrote)
#endif

/* The transaction of a claim made where the session is. */
inline bornSending() {
#ifdef M_BORN_PENDING           /* pushed at once, but the document does not say so */
	pushes = 1; mine = 1; until = LOCAL_LEASE; wrote = 1
#else
	state = SENDING; pushNo = 1; pushes = 1; lastRecorded = 0;
	leaseUntil = LOCAL_LEASE; mine = 1; until = leaseUntil; wrote = 1
#endif
}

proctype deliver(bit session) {
	byte t, mine, until, got;
	bit wrote;

	/* Where the session is, the claim comes first: its own, or it finds that a trigger's
	 * stands. If it does not learn which of the two, it reads the delivery. */
	if
	:: session -> atomic {
		if
		:: !tombstone -> d_step { bornSending() }; born = 1;
		   if
		   :: goto begun
		   :: goto unclear
		   :: STOP
		   fi
		:: born = 1; mine = 1; goto unclear
		:: born = 1; STOP
		fi }
	:: else
	fi;

	/* A message arrives. Parked, deleted, past expires_at: nothing to push. */
idle:	atomic { born && !TERMINAL && !parked && now < EXPIRES && pushes < PUSHES; clock(t) }
	/* The write before the push. A lease that ran out unrecorded raises the flag. */
	atomic {
		if
#ifdef M_PUSH_WITHOUT_WRITE
		:: PUSHABLE && UNDELETED ->
			d_step { pushes++; mine = pushes; until = t + LEASE }
#else
		:: PUSHABLE -> mine = pushNo + 1; goto unclear /* the write is lost, and nobody knows */
		:: PUSHABLE && UNDELETED ->
			d_step {
				CHECK(DELETED, !tombstone);
#ifndef M_LEASE_TAKEN_OVER_SILENTLY
				exposureUnknown = exposureUnknown || state == SENDING;
#endif
				state = SENDING;
				pushNo++;
				pushes = pushNo;
				earlierRecorded = earlierRecorded && lastRecorded;
				lastRecorded = 0;
				mine = pushNo;
				leaseUntil = t + LEASE;
				until = leaseUntil;
				wrote = 1
			};
			if
			:: goto begun
			:: goto unclear
			fi
#endif
#ifdef M_NEGATIVE_AFTER_LOST_WRITE
		/* The write failed with an unclear error: `I have not sent, so negative'. */
		:: state == PENDING && !parked && pushes < PUSHES -> mine = pushNo + 1; got = NEGATIVE; goto result
#endif
		:: else -> STOP
		fi
	}
	goto begun;
unclear: atomic { clock(t);
		if
		:: HELD -> until = leaseUntil
		:: !HELD -> STOP
		fi
	}
begun:	if
	:: atomic { clock(t);
	   if
	   :: t < EXPIRES && t < until -> t = 0
	   :: else -> t = 0; got = NEGATIVE; answer[mine] = NEGATIVE; goto result
	   fi }
	:: STOP                                        /* crash */
	fi;
	/* Any time may pass here: what looks at the clock last is the relay. */
	if
	:: atomic { wire[mine] = 1 }
	:: atomic { got = NEGATIVE; answer[mine] = NEGATIVE; goto result } /* not written */
	:: STOP
	fi;
	if
	:: atomic { answer[mine] != SILENT -> got = answer[mine] }
	:: got = UNKNOWN                               /* timeout */
	:: STOP
	fi;
result:	if
	:: d_step { record() } -> goto result          /* the answer to the commit was lost */
	:: STOP
	fi
}

/* The relay answers each push once, and may do so without the worker. */
proctype relay() {
	byte n;
	do
	:: atomic {
		if
		:: wire[1] -> n = 1
		:: wire[2] -> n = 2
		:: wire[3] -> n = 3
		fi;
		wire[n] = 0;
		if
#ifdef M_RELAY_WRITES_LATE
		:: d_step {
#else
		:: now < EXPIRES -> d_step { /* drops what it has not begun to write by then */
#endif
			CHECK(I8, now < EXPIRES);
			CHECK(I1, !returned);
			exposed = 1
		   };
		   if
		   :: answer[n] = SENT
		   :: answer[n] = UNKNOWN
		   fi
		:: exposed -> answer[n] = SENT         /* was sent before */
		:: answer[n] = NEGATIVE
		:: answer[n] = PARKING
		:: answer[n] = UNKNOWN
		fi;
		n = 0
	   }
	od
}

/* One transaction under the delivery's update time, which reads the tombstone. */
inline expireOnce() {
#ifndef M_RETURN_UNRESOLVED
	exposureUnknown = exposureUnknown || state == SENDING;
#endif
	state = EXPIRED;
	leaseUntil = 0;
	returned = !exposureUnknown && !parked && !tombstone;
	CHECK(I1, !(returned && exposed));
	CHECK(I5, WITHOUT_I5 || returned == (earlierRecorded && lastRecorded && !parked && !tombstone))
}

/* Two runs at once: the second finds the state terminal. */
proctype expire() {
	do
	:: d_step { born && now >= EXPIRES + FENCE && !TERMINAL -> expireOnce() }
	od
}

proctype time() { do :: now < END -> now++ od }

proctype owner() { tombstone = 1 }

init {
	atomic { run deliver(1); run deliver(0); run relay(); run expire(); run expire(); run time(); run owner() }
	timeout -> CHECK(I3, TERMINAL || !born)
}
