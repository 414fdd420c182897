"""The promises of docs/reliability.md, each as an exercise that `make test` does a little of and `make reliability` all."""
