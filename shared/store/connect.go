package store

import (
	"context"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Connect opens a client for New. The context bounds the set-up only.
func Connect(ctx context.Context, project, database string) (*firestore.Client, error) {
	var options []option.ClientOption
	for _, dial := range DialOptions() {
		options = append(options, option.WithGRPCDialOption(dial))
	}
	return firestore.NewClientWithDatabase(ctx, project, database, options...)
}

// DialOptions are what a connection needs for transactions to be fast: they begin with their first read, and lose at once. A
// Store works without, and the client library leaves them out when it finds an emulator by the environment.
//
// The alternative, the generated client of package apiv1, has both; but it can not encode a document.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(loseAtOnce, beginLate),
		grpc.WithChainStreamInterceptor(beginByReading),
	}
}

// loseAtOnce tells a lost race as soon as it is lost. Firestore answers most of them with ABORTED, which
// [firestore.Client.RunTransaction] takes for an order to run the function again: it first sleeps up to a second, even if
// no attempt is left. Whoever lost has to read and decide anew, and knows better how long to wait. FAILED_PRECONDITION,
// Firestore's other word for the same, it hands on.
func loseAtOnce(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	if answer := status.Convert(err); answer.Code() == codes.Aborted {
		return status.Error(codes.FailedPrecondition, answer.Message())
	}
	return err
}
