/*
 * One request for two owners, taken up by several instances while it grows stale:
 * the trigger, the same trigger again, and the scheduled function that looks for
 * lost ones. Each unit (request, owner) commits alone.
 *
 *   I3  the request ends with exactly one outcome: a rejection, or a record for
 *       every unit, never both, and what was recorded never changes
 *
 * A rejection that depends on time applies only to a request without any record.
 * Instances read clock and records first and commit later, and may stop anywhere.
 */

#define UNITS 2

bool rejected;          /* the request's own record */
bool recorded[UNITS];   /* claim records of the units */
bool stale, past;       /* REQUEST_MAX_AGE is over; created_at + ttl is over */

hidden byte I3;
#define CHECK(name, condition) name = (condition); assert(name); name = 0
#define DONE (rejected || recorded[0] && recorded[1])

#ifdef M_REJECT_THE_REST        /* time alone decides */
#define REJECT (stale || past)
#else
#define REJECT ((stale || past) && !recorded[0] && !recorded[1])
#endif

proctype claimer() {
	bool reject;
	byte unit;

	do
	:: atomic { !DONE -> reject = REJECT }
	   if
	   :: atomic { reject ->
		if
#ifdef M_REJECT_BLINDLY         /* without reading the unit records */
		:: !rejected -> rejected = true
#elif defined(M_REJECT_THE_REST)
		:: !rejected && !(recorded[0] && recorded[1]) -> rejected = true
#else
		:: !rejected && !recorded[0] && !recorded[1] -> rejected = true
#endif
		:: else
		fi;
		CHECK(I3, !(rejected && (recorded[0] || recorded[1]))) }
	   :: atomic { !reject ->
		if
		:: unit = 0
		:: unit = 1
		fi;
		if /* granted, limited, none, ...: past the ttl always none */
#ifdef M_CLAIM_BLINDLY          /* without reading the request's record */
		:: !recorded[unit] -> recorded[unit] = true
#else
		:: !recorded[unit] && !rejected -> recorded[unit] = true
#endif
		:: else
		fi;
		unit = 0;
		CHECK(I3, !(rejected && (recorded[0] || recorded[1]))) }
	   :: true              /* crash: the trigger arrives again, or the tick does */
	   fi;
	   reject = false
	od
}

proctype time() { if :: stale = true :: past = true fi; stale = true; past = true }

init {
	atomic { run claimer(); run claimer(); run claimer(); run time() }
	timeout -> CHECK(I3, DONE)
}
