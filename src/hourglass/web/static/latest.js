// Requests that overtake each other: one is under way, and of those that come meanwhile the last waits.

/** A function that runs `work(argument)` for the latest argument; those in between are dropped. */
export function latest(work) {
  let [isBusy, isWaiting, waiting] = [false, false, null];
  return async function run(argument) {
    if (isBusy) {
      [isWaiting, waiting] = [true, argument];
      return;
    }
    isBusy = true;
    try {
      await work(argument);
    } finally {
      isBusy = false;
      if (isWaiting) {
        isWaiting = false;
        run(waiting);
      }
    }
  };
}
