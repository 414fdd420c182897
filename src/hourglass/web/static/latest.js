// Requests that overtake each other: one is under way, and of those that come meanwhile the last waits.

/** A function that runs `work(argument)` for the latest argument; those in between are dropped. `fault` hears of failures. */
export function latest(work, fault) {
  let [isBusy, isWaiting, waiting] = [false, false, null];
  return async function run(argument) {
    if (isBusy) {
      [isWaiting, waiting] = [true, argument];
      return;
    }
    isBusy = true;
    try {
      await work(argument);
    } catch (error) {
      fault(error);
    }
    isBusy = false;
    if (isWaiting) {
      isWaiting = false;
      run(waiting);
    }
  };
}

/** A function that begins a turn and gives back whether that is still the last one: late answers are dropped by it. */
export function turns() {
  let last = 0;
  return () => {
    last += 1;
    const mine = last;
    return () => mine === last;
  };
}
