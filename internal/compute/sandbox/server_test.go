package sandbox_test

func server(string) {}
